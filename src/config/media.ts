/** Options of the manual's section "Media Store". */
import {
  anything,
  boolean,
  duration,
  integer,
  list,
  nullable,
  object,
  oneOf,
  option,
  record,
  required,
  size,
  string,
  works,
} from "./schema.ts";
import { ipRange, serverName } from "./values.ts";

const STORAGE_PROVIDER = {
  module: required(string),
  store_local: option(boolean, false),
  store_remote: option(boolean, false),
  store_synchronous: option(boolean, false),
  config: option(record(anything), {}),
};

const UPLOAD_LIMIT = {
  time_period: required(duration),
  max_size: required(size),
  info_uri: option(nullable(string), null),
  can_upgrade: option(boolean, false),
  // The names that Synapse had for these first.
  msc4335_info_uri: option(nullable(string), null),
  msc4335_soft_limit: option(boolean, false),
  msc4335_increase_uri: option(nullable(string), null),
};

const THUMBNAIL = {
  width: required(integer({ min: 1, max: 8192 })),
  height: required(integer({ min: 1, max: 8192 })),
  method: required(oneOf(["crop", "scale"])),
};

const THUMBNAIL_SIZES = [
  { width: 32, height: 32, method: "crop" },
  { width: 96, height: 96, method: "crop" },
  { width: 320, height: 240, method: "scale" },
  { width: 640, height: 480, method: "scale" },
  { width: 800, height: 600, method: "scale" },
];

const RETENTION = {
  local_media_lifetime: option(nullable(duration), null),
  remote_media_lifetime: option(nullable(duration), null),
};

/** The table of the section. */
export const MEDIA_OPTIONS = {
  enable_authenticated_media: option(
    boolean,
    true,
    works("Serve media uploaded from now on only to people with an access token."),
  ),
  enable_media_repo: option(boolean, true, works("Whether the server stores media.")),
  enable_local_media_storage: option(boolean, true, works("Whether media are kept on the local disk.")),
  media_store_path: option(string, "media_store", works("The folder of the media.")),
  max_pending_media_uploads: option(
    integer(),
    5,
    works("The most media ids a user may have reserved without uploading."),
  ),
  unused_expiration_time: option(duration, "24h", works("How long a reserved media id waits for its upload.")),
  media_storage_providers: option(
    list(object(STORAGE_PROVIDER)),
    [],
    works("Further stores, such as S3. `config.secret_access_key_path` names a file with the secret of S3."),
  ),
  max_upload_size: option(size, "50M", works("The largest upload.")),
  media_upload_limits: option(list(object(UPLOAD_LIMIT)), [], works("How much a user may upload in a time.")),
  max_image_pixels: option(size, "32M", works("The most pixels of an image that gets thumbnails.")),
  remote_media_download_burst_count: option(
    size,
    "500M",
    works("Bytes of remote media an address may have fetched at once."),
  ),
  remote_media_download_per_second: option(
    size,
    "87K",
    works("Bytes of remote media an address may have fetched a second."),
  ),
  prevent_media_downloads_from: option(list(serverName), [], works("Servers whose media are not fetched.")),
  dynamic_thumbnails: option(boolean, false, works("Make thumbnails of any size that is asked for.")),
  thumbnail_sizes: option(list(object(THUMBNAIL)), THUMBNAIL_SIZES, works("The thumbnails made of each image.")),
  media_retention: option(object(RETENTION), {}, works("Delete media not used for this long.")),
  url_preview_enabled: option(boolean, false, works("Previews of links in messages.")),
  url_preview_ip_range_blacklist: option(
    nullable(list(ipRange)),
    null,
    works("Addresses previews may not reach; required where previews are enabled."),
  ),
  url_preview_ip_range_whitelist: option(list(ipRange), [], works("Exceptions from the list above.")),
  url_preview_url_blacklist: option(list(record(string)), [], works("Links without previews, by their parts.")),
  max_spider_size: option(size, "10M", works("The most a preview downloads.")),
  url_preview_accept_language: option(list(string), ["en"], works("Languages to ask for in previews.")),
  oembed: option(
    object({
      disable_default_providers: option(boolean, false),
      additional_providers: option(list(string), []),
    }),
    {},
    works("Providers of oEmbed previews."),
  ),
};
