/** The hidden command by which the executable starts itself to decode images and pages, see `media/child/`. */

/** The command's name. */
export const MEDIA_CHILD = "media-child";

/** Works until standard input ends, and returns the exit code. */
export async function mediaChild(): Promise<number> {
  // Loaded only here: no other command needs the decoders.
  const { runMediaChild } = await import("../media/child/child_main.ts");
  await runMediaChild();
  return 0;
}
