/** From the configuration to the blob store. To add a kind of store, add its module to `openProvider`. */
import { join, resolve } from "node:path";
import { z } from "zod";
import type { Config } from "../config/config.ts";
import type { Clock } from "../lib/clock.ts";
import type { Logger } from "../lib/log.ts";
import { reasonOf } from "../lib/reason.ts";
import { StartupError } from "../lib/startup_error.ts";
import type { BlobStore } from "./blob_store.ts";
import { DiskStore, TEMPORARY_FOLDER } from "./disk_store.ts";
import { type Provider, TieredStore } from "./tiered_store.ts";

/** What the store is opened with. */
export interface OpenStoreDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly settings: Pick<Config["media"], "enableLocalMediaStorage" | "mediaStorePath" | "mediaStorageProviders">;
  readonly baseFolder: string;
}

/** A temporary file this old belongs to no upload under way. */
const UNFINISHED_AFTER_MS = 86_400_000;

const S3Config = z.looseObject({
  bucket: z.string().min(1),
  region_name: z.string().min(1).optional(),
  endpoint_url: z.url().nullish(),
  access_key_id: z.string().min(1),
  secret_access_key: z.string().min(1),
  session_token: z.string().nullish(),
  prefix: z.string().regex(/^[\w.\-/]*$/).optional(),
  storage_class: z.string().nullish(),
});
const FolderConfig = z.looseObject({ directory: z.string().min(1) });

type ProviderOptions = Config["media"]["mediaStorageProviders"][number];

/** Opens the disk store and what stands behind it. Throws `StartupError` for options that cannot be used. */
export async function openStore(deps: OpenStoreDeps): Promise<BlobStore> {
  const { clock, log, settings, baseFolder } = deps;
  const root = resolve(baseFolder, settings.mediaStorePath);
  const unfinishedBefore = clock.now() - UNFINISHED_AFTER_MS;
  const disk = await openFolder(root, { unfinishedBefore });
  const { enableLocalMediaStorage: usesDisk, mediaStorageProviders } = settings;
  if (mediaStorageProviders.length === 0) {
    if (usesDisk) return disk;
    throw new StartupError('"enable_local_media_storage: false" needs an entry in "media_storage_providers"');
  }
  const providers: Provider[] = [];
  for (const options of mediaStorageProviders) {
    providers.push({
      store: await openProvider(options, { clock, spoolFolder: join(root, TEMPORARY_FOLDER), unfinishedBefore }),
      storesLocal: options.storeLocal,
      storesRemote: options.storeRemote,
      isSynchronous: options.storeSynchronous,
    });
  }
  return new TieredStore({ local: usesDisk ? disk : null, providers, log });
}

async function openProvider(
  { module, config }: ProviderOptions,
  { clock, spoolFolder, unfinishedBefore }: { clock: Clock; spoolFolder: string; unfinishedBefore: number },
): Promise<BlobStore> {
  switch (module) {
    case "file_system":
    case "synapse.media.storage_provider.FileStorageProviderBackend": {
      const { directory } = check(FolderConfig, { module, config });
      return await openFolder(resolve(directory), { unfinishedBefore });
    }
    case "s3":
    case "s3_storage_provider.S3StorageProviderBackend": {
      const found = check(S3Config, { module, config });
      const { access_key_id: accessKeyId, secret_access_key: secretAccessKey, prefix = "" } = found;
      const region = found.region_name ?? "us-east-1";
      // Loaded when used: its HTTP client takes 25 MB of memory.
      const { S3Store } = await import("./s3_store.ts");
      return new S3Store({
        clock,
        spoolFolder,
        options: {
          credentials: { accessKeyId, secretAccessKey, sessionToken: found.session_token ?? null, region },
          bucket: found.bucket,
          endpoint: found.endpoint_url ?? null,
          prefix: prefix === "" || prefix.endsWith("/") ? prefix : `${prefix}/`,
          storageClass: found.storage_class ?? null,
        },
      });
    }
    default:
      throw new StartupError(
        `media_storage_providers: there is no module ${JSON.stringify(module)}; known are s3 and file_system`,
      );
  }
}

async function openFolder(folder: string, options: { unfinishedBefore: number }): Promise<DiskStore> {
  try {
    return await DiskStore.open(folder, options);
  } catch (error) {
    throw new StartupError(`Cannot use the media folder ${folder}: ${reasonOf(error)}`);
  }
}

function check<Schema extends z.ZodType>(
  schema: Schema,
  { module, config }: { module: string; config: Readonly<Record<string, unknown>> },
): z.output<Schema> {
  const result = schema.safeParse(config);
  if (result.success) return result.data;
  const name = result.error.issues[0]?.path.join(".") ?? "";
  throw new StartupError(`media_storage_providers: the config of ${module} has no usable "${name}"`);
}
