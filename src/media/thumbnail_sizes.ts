/**
 * Which thumbnail answers a request. Spec: client-server API, "Thumbnails".
 *
 * A thumbnail is never smaller than asked for, unless the original is. So that a file has few of them, a request gets the
 * smallest configured size that covers it; one that none covers is rounded up on a ladder of sizes.
 */

/** The two ways of making an image smaller. */
export type ThumbnailMethod = "crop" | "scale";

/** A box that thumbnails are made for. */
export interface ThumbnailSize {
  readonly width: number;
  readonly height: number;
  readonly method: ThumbnailMethod;
}

/** The largest number that makes sense as a side in a request. */
export const MAX_REQUESTED_SIDE = 65_535;
/** The largest side of a thumbnail. */
export const MAX_THUMBNAIL_SIDE = 8_192;

const LADDER: readonly number[] = [
  16,
  32,
  48,
  64,
  96,
  128,
  192,
  256,
  384,
  512,
  768,
  1_024,
  1_536,
  2_048,
  3_072,
  4_096,
  6_144,
  MAX_THUMBNAIL_SIDE,
];

/** Returns the box to make a thumbnail for. With `isDynamic` every size is made as it is asked for. */
export function chooseSize(
  wanted: ThumbnailSize,
  { sizes, isDynamic }: { sizes: readonly ThumbnailSize[]; isDynamic: boolean },
): ThumbnailSize {
  if (isDynamic) return { ...wanted, width: bounded(wanted.width), height: bounded(wanted.height) };
  let best: ThumbnailSize | null = null;
  for (const size of sizes) {
    const covers = size.method === wanted.method && size.width >= wanted.width && size.height >= wanted.height;
    if (covers && (best === null || size.width * size.height < best.width * best.height)) best = size;
  }
  if (best !== null) return { width: best.width, height: best.height, method: best.method };
  return { width: stepUp(wanted.width), height: stepUp(wanted.height), method: wanted.method };
}

function bounded(side: number): number {
  return Math.min(side, MAX_THUMBNAIL_SIDE);
}

function stepUp(side: number): number {
  return LADDER.find((step) => step >= side) ?? MAX_THUMBNAIL_SIDE;
}
