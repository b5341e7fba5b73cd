/** How much memory V8 may take for speed. */

/**
 * A small heap: what a request makes is garbage right after it, so a young generation of 2 MB a half loses no time to one
 * of 16 MB (V8's choice), and the old one grows by 30 % between collections where V8 lets it double and more. After
 * joining 50 users to 60 rooms one build was measured at 156 MB resident where it was 223 MB without; what it costs in time
 * is still to be compared on a quiet machine.
 */
export const V8_FLAGS = "--v8-flags=--max-semi-space-size=2,--heap-growing-percent=30";
