/**
 * Options of the manual's section "Workers". One process does all the work here. A configuration for several, as of the main
 * process, is taken as it is; that of a worker is refused (`checks.ts`), for there is nothing that it could do.
 */
import {
  anything,
  boolean,
  integer,
  list,
  listOrOne,
  noEffect,
  nullable,
  object,
  option,
  record,
  secret,
  string,
} from "./schema.ts";

const NO_ROLES = "one process does all the work here, and a second one on the same database is refused";

const REDIS = {
  enabled: option(boolean, false),
  host: option(string, "localhost"),
  port: option(integer({ min: 1, max: 65535 }), 6379),
  path: option(nullable(string), null),
  password: option(nullable(secret), null),
  password_path: option(nullable(string), null),
  dbid: option(nullable(anything), null),
  use_tls: option(boolean, false),
  certificate_file: option(nullable(string), null),
  private_key_file: option(nullable(string), null),
  ca_file: option(nullable(string), null),
  ca_path: option(nullable(string), null),
};

const instances = listOrOne(string);

const STREAM_WRITERS = {
  events: option(instances, []),
  typing: option(instances, []),
  to_device: option(instances, []),
  account_data: option(instances, []),
  receipts: option(instances, []),
  presence: option(instances, []),
  push_rules: option(instances, []),
  device_lists: option(instances, []),
  thread_subscriptions: option(instances, []),
  quarantined_media_changes: option(instances, []),
};

/** The table of the section. */
export const WORKER_OPTIONS = {
  worker_replication_secret: option(nullable(secret), null, noEffect("Secret between processes.", NO_ROLES)),
  worker_replication_secret_path: option(nullable(string), null, noEffect("File with that secret.", NO_ROLES)),
  start_pushers: option(boolean, true, noEffect("Whether the main process pushes.", NO_ROLES)),
  pusher_instances: option(list(string), [], noEffect("Processes that push.", NO_ROLES)),
  send_federation: option(boolean, true, noEffect("Whether the main process sends to servers.", NO_ROLES)),
  federation_sender_instances: option(list(string), [], noEffect("Processes that send to servers.", NO_ROLES)),
  instance_map: option(record(anything), {}, noEffect("Where the processes listen for each other.", NO_ROLES)),
  stream_writers: option(object(STREAM_WRITERS), {}, noEffect("Processes that write each stream.", NO_ROLES)),
  outbound_federation_restricted_to: option(
    list(string),
    [],
    noEffect("Processes that may reach other servers.", NO_ROLES),
  ),
  run_background_tasks_on: option(nullable(string), null, noEffect("Process with the background work.", NO_ROLES)),
  update_user_directory_from_worker: option(
    nullable(string),
    null,
    noEffect("Process with the user directory.", NO_ROLES),
  ),
  notify_appservices_from_worker: option(
    nullable(string),
    null,
    noEffect("Process that sends to application services.", NO_ROLES),
  ),
  media_instance_running_background_jobs: option(
    nullable(string),
    null,
    noEffect("Process with the background work of media.", NO_ROLES),
  ),
  redis: option(object(REDIS), {}, noEffect("Redis, to wake up other processes in place of PostgreSQL.", NO_ROLES)),
  worker_app: option(
    nullable(string),
    null,
    noEffect("Kind of process.", "there is only the main process, and the configuration of a worker is refused"),
  ),
  worker_name: option(nullable(string), null, noEffect("Name of the process in logs and metrics.", NO_ROLES)),
  worker_listeners: option(nullable(list(record(anything))), [], noEffect("Listeners of the process.", NO_ROLES)),
  worker_manhole: option(nullable(integer()), null, noEffect("Port of a Python shell.", "there is no Python")),
  worker_daemonize: option(boolean, false, noEffect("Run in the background.", "a service manager does it")),
  worker_pid_file: option(nullable(string), null, noEffect("File that receives the process id.", NO_ROLES)),
  worker_log_config: option(nullable(string), null, noEffect("What the process logs.", NO_ROLES)),
};
