/**
 * The media child: the program itself, started again to decode what strangers have sent, so that it can be killed.
 *
 * It does one job after another as they arrive on standard input, and ends with it. It gives up every permission but
 * reading before it looks at the first byte.
 */
import { ImageError, loadVips, makeThumbnail, probeImage, type VipsLibrary } from "./images.ts";
import { type ChildAnswer, type ChildJob, encodeHead, type Message, MessageReader } from "./messages.ts";
import { readPage } from "./page.ts";

const MAX_BODY_BYTES = 4_294_967_295;
const GIVEN_UP = ["run", "write", "net", "ffi", "env", "sys"] as const;

/** Works until standard input ends. */
export async function runMediaChild(): Promise<void> {
  const messages = new MessageReader(Deno.stdin.readable, { maxBodyBytes: MAX_BODY_BYTES });
  let vips: VipsLibrary | null = null;
  let isConfined = false;
  while (true) {
    const message = await messages.next();
    if (message === null) return;
    const job = message.head as ChildJob;
    if (job.kind !== "page") vips ??= await loadVips();
    // The image library reads its environment while it loads.
    if (!isConfined && vips !== null) {
      for (const name of GIVEN_UP) await Deno.permissions.revoke({ name });
      isConfined = true;
    }
    const [answer, body] = work(message, { job, vips });
    await writeAll(encodeHead(answer, body.length));
    await writeAll(body);
  }
}

function work(
  { body }: Message,
  { job, vips }: { job: ChildJob; vips: VipsLibrary | null },
): [ChildAnswer, Uint8Array] {
  const nothing = new Uint8Array();
  try {
    if (job.kind === "page") return [{ ok: true, result: readPage(body, job.charset) }, nothing];
    if (vips === null) throw new Error("The image library is not loaded");
    if (job.kind === "probe") return [{ ok: true, result: probeImage(vips, body) }, nothing];
    const [result, bytes] = makeThumbnail(vips, { bytes: body, job });
    return [{ ok: true, result }, bytes];
  } catch (error) {
    if (!(error instanceof ImageError)) throw error;
    return [{ ok: false, refusal: error.reason, detail: error.message }, nothing];
  }
}

async function writeAll(bytes: Uint8Array): Promise<void> {
  for (let written = 0; written < bytes.length;) written += await Deno.stdout.write(bytes.subarray(written));
}

if (import.meta.main) {
  await runMediaChild();
  Deno.exit(0);
}
