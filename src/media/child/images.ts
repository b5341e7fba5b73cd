/**
 * Images, in the media child: measuring them and making thumbnails.
 *
 * The header is read first: an image with too many pixels is refused before any of them is decoded. Thumbnails are never
 * larger than the original. JPEG and PNG come out for still images, WebP for animated ones.
 */
import type Vips from "wasm-vips";
import { type ImageType, isAnimatedPng, sniffImage } from "./image_formats.ts";
import type { ProbeResult, ThumbnailJob, ThumbnailResult } from "./messages.ts";

/** The library of `wasm-vips`, loaded. */
export type VipsLibrary = typeof Vips;

/** Thrown for what cannot be done with an image; `reason` reaches the client. */
export class ImageError extends Error {
  override readonly name = "ImageError";
  readonly reason: "too_large" | "unsupported";

  constructor(reason: "too_large" | "unsupported", message: string) {
    super(message);
    this.reason = reason;
  }
}

/** An image, opened as far as its header. */
interface Header {
  readonly type: ImageType;
  /** As shown, after turning it as its metadata say. */
  readonly width: number;
  readonly height: number;
  readonly pages: number;
  readonly isAnimated: boolean;
  readonly hasAlpha: boolean;
}

/** Pixels of all frames of an animation together, in images of the largest size. */
const MAX_ANIMATION_IMAGES = 2;
const JPEG_QUALITY = 80;
/** Types that the spec allows as thumbnails. */
const THUMBNAIL_TYPES: ReadonlySet<ImageType> = new Set(["image/gif", "image/jpeg", "image/png", "image/webp"]);

/** Loads the library; takes about a tenth of a second. */
export async function loadVips(): Promise<VipsLibrary> {
  const { default: load } = await import("wasm-vips");
  const vips = await load({ dynamicLibraries: ["vips-heif.wasm"] });
  vips.concurrency(1);
  vips.Cache.max(0);
  return vips;
}

/** Returns an image's type and size. Throws `ImageError` for what is no image. */
export function probeImage(vips: VipsLibrary, bytes: Uint8Array): ProbeResult {
  const { type, width, height } = readHeader(vips, bytes);
  return { contentType: type, width, height };
}

/** Makes a thumbnail; the second part is its bytes, empty where the original serves. Throws `ImageError`. */
export function makeThumbnail(
  vips: VipsLibrary,
  { bytes, job }: { bytes: Uint8Array; job: ThumbnailJob },
): [ThumbnailResult, Uint8Array] {
  const header = readHeader(vips, bytes);
  if (header.width * header.height > job.maxPixels) throw new ImageError("too_large", "Too many pixels");
  const totalPixels = header.width * header.height * header.pages;
  const animate = job.isAnimated && header.pages > 1 && totalPixels <= job.maxPixels * MAX_ANIMATION_IMAGES;
  const fits = header.width <= job.width && header.height <= job.height;
  if (fits && THUMBNAIL_TYPES.has(header.type) && (job.isAnimated || !header.isAnimated)) {
    return [
      { isOriginal: true, contentType: header.type, width: header.width, height: header.height },
      new Uint8Array(),
    ];
  }
  const target = targetSize(header, job);
  return guard(() => render(vips, { bytes, header, target, animate }));
}

interface Target {
  readonly width: number;
  readonly height: number;
  readonly crop: boolean;
}

/** Returns the size of the result: within the original, and of the shape that was asked for. */
function targetSize({ width, height }: Header, job: ThumbnailJob): Target {
  if (job.method === "scale") {
    const factor = Math.min(1, job.width / width, job.height / height);
    return { ...rounded(width * factor, height * factor), crop: false };
  }
  const factor = Math.min(1, width / job.width, height / job.height);
  return { ...rounded(job.width * factor, job.height * factor), crop: true };
}

function rounded(width: number, height: number): { width: number; height: number } {
  return { width: Math.max(1, Math.round(width)), height: Math.max(1, Math.round(height)) };
}

function readHeader(vips: VipsLibrary, bytes: Uint8Array): Header {
  const type = sniffImage(bytes);
  if (type === null) throw new ImageError("unsupported", "Not an image of a known format");
  return guard(() => {
    const image = vips.Image.newFromBuffer(bytes);
    try {
      const pages = image.getTypeof("n-pages") === 0 ? 1 : image.getInt("n-pages");
      const turned = image.getTypeof("orientation") !== 0 && image.getInt("orientation") >= 5;
      return {
        type,
        width: turned ? image.height : image.width,
        height: turned ? image.width : image.height,
        pages,
        isAnimated: pages > 1 || (type === "image/png" && isAnimatedPng(bytes)),
        hasAlpha: image.hasAlpha(),
      };
    } finally {
      image.delete();
    }
  });
}

interface Rendering {
  readonly bytes: Uint8Array;
  readonly header: Header;
  readonly target: Target;
  readonly animate: boolean;
}

function render(vips: VipsLibrary, { bytes, header, target, animate }: Rendering): [ThumbnailResult, Uint8Array] {
  const used: Vips.Image[] = [];
  const keep = (image: Vips.Image): Vips.Image => {
    used.push(image);
    return image;
  };
  try {
    // Covers the target while cropping, fits into it otherwise.
    const factor = Math.max(target.width / header.width, target.height / header.height);
    const width = target.crop ? Math.max(target.width, Math.ceil(header.width * factor)) : target.width;
    const height = target.crop ? Math.max(target.height, Math.ceil(header.height * factor)) : target.height;
    // Loader options are only heeded in this form.
    const option_string = animate ? "n=-1,fail_on=error" : "fail_on=error";
    const options = { height, size: "force", option_string } as const;
    const scaled = keep(vips.Image.thumbnailBuffer(bytes, width, options));
    const cropped = target.crop ? cropFrames(vips, { image: scaled, target, animate, keep }) : scaled;
    const frameHeight = animate ? cropped.pageHeight : cropped.height;
    const [contentType, encoded] = encode(cropped, { header, animate });
    return [{ isOriginal: false, contentType, width: cropped.width, height: frameHeight }, encoded];
  } finally {
    for (const image of used) image.delete();
  }
}

function cropFrames(
  vips: VipsLibrary,
  { image, target, animate, keep }: {
    image: Vips.Image;
    target: Target;
    animate: boolean;
    keep: (image: Vips.Image) => Vips.Image;
  },
): Vips.Image {
  const { width, height } = target;
  const frameHeight = animate ? image.pageHeight : image.height;
  const left = Math.max(0, Math.floor((image.width - width) / 2));
  const top = Math.max(0, Math.floor((frameHeight - height) / 2));
  if (!animate) return keep(image.extractArea(left, top, width, height));
  const count = Math.floor(image.height / frameHeight);
  const frames: Vips.Image[] = [];
  for (let i = 0; i < count; i++) frames.push(keep(image.extractArea(left, i * frameHeight + top, width, height)));
  const joined = keep(vips.Image.arrayjoin(frames, { across: 1 }));
  const marked = keep(joined.copy());
  marked.setInt("page-height", height);
  return marked;
}

function encode(
  image: Vips.Image,
  { header, animate }: { header: Header; animate: boolean },
): [contentType: string, bytes: Uint8Array] {
  if (animate) return ["image/webp", image.webpsaveBuffer({ Q: JPEG_QUALITY, effort: 2, keep: "none" })];
  const isLossless = header.hasAlpha || header.type === "image/png" || header.type === "image/gif";
  if (isLossless) return ["image/png", image.pngsaveBuffer({ compression: 6, keep: "none" })];
  return ["image/jpeg", image.jpegsaveBuffer({ Q: JPEG_QUALITY, optimize_coding: true, keep: "none" })];
}

/** Turns the library's errors, which are about the file, into ours. */
function guard<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof ImageError) throw error;
    const message = error instanceof Error ? error.message : String(error);
    throw new ImageError("unsupported", message.slice(0, 200));
  }
}
