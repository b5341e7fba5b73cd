import { deepEqual, ok } from "node:assert/strict";
import { chooseSize, MAX_THUMBNAIL_SIDE, type ThumbnailSize } from "./thumbnail_sizes.ts";

const SIZES: readonly ThumbnailSize[] = [
  { width: 32, height: 32, method: "crop" },
  { width: 96, height: 96, method: "crop" },
  { width: 320, height: 240, method: "scale" },
  { width: 640, height: 480, method: "scale" },
];

Deno.test("chooseSize() never chooses less than was asked for, and few sizes in all", () => {
  const chosen = new Set<string>();
  for (const method of ["crop", "scale"] as const) {
    for (let width = 1; width <= 1_000; width += 7) {
      for (let height = 1; height <= 1_000; height += 11) {
        const size = chooseSize({ width, height, method }, { sizes: SIZES, isDynamic: false });
        ok(size.width >= width && size.height >= height && size.method === method, `${width}x${height}`);
        chosen.add(JSON.stringify(size));
      }
    }
  }
  ok(chosen.size < 400, String(chosen.size));
});

Deno.test("chooseSize() takes the smallest configured size that covers the request", () => {
  const choose = (wanted: ThumbnailSize) => chooseSize(wanted, { sizes: SIZES, isDynamic: false });
  deepEqual(choose({ width: 32, height: 32, method: "crop" }), SIZES[0]);
  deepEqual(choose({ width: 33, height: 1, method: "crop" }), SIZES[1]);
  deepEqual(choose({ width: 1, height: 241, method: "scale" }), SIZES[3]);
  deepEqual(choose({ width: 700, height: 481, method: "scale" }), { width: 768, height: 512, method: "scale" });
});

Deno.test("chooseSize() is bounded, also where every size is made", () => {
  const huge: ThumbnailSize = { width: 65_535, height: 65_535, method: "scale" };
  const bound = { width: MAX_THUMBNAIL_SIDE, height: MAX_THUMBNAIL_SIDE, method: "scale" };
  deepEqual(chooseSize(huge, { sizes: SIZES, isDynamic: false }), bound);
  deepEqual(chooseSize(huge, { sizes: SIZES, isDynamic: true }), bound);
  deepEqual(chooseSize({ ...huge, width: 77 }, { sizes: SIZES, isDynamic: true }).width, 77);
});
