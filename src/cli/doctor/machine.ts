/** The machine: open files, memory, disk, and the media folder. */
import { statfs } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import type { Config } from "../../config/config.ts";
import { readSystemFile } from "../../lib/system_files.ts";
import { bytesText, fail, type Finding, ok, reasonText, warn } from "./finding.ts";

const WANTED_FILES = 4096;
const LITTLE_MEMORY = 400 * 1024 * 1024;
const LITTLE_DISK = 2 * 1024 ** 3;
const NO_DISK = 200 * 1024 ** 2;

/** Looks at the machine. */
export async function checkMachine(config: Config): Promise<Finding[]> {
  const folders = new Set([resolve(config.media.mediaStorePath)]);
  if (config.database.name === "sqlite3") folders.add(dirname(resolve(config.database.path)));
  return [
    ...await checkFileLimit(),
    ...await checkMemory(),
    ...(await Promise.all([...folders].map(checkDisk))).flat(),
    ...await checkMediaStore(config),
  ];
}

async function checkFileLimit(): Promise<Finding[]> {
  const limits = await readSystemFile("/proc/self/limits");
  const match = /^Max open files\s+(\d+|unlimited)/m.exec(limits);
  if (match === null) return [];
  const limit = match[1] === "unlimited" ? Infinity : Number(match[1]);
  if (limit >= WANTED_FILES) return [ok("open files", `${match[1]} may be open`)];
  return [warn("open files", {
    message: `only ${limit} files and connections may be open here`,
    advice: `set LimitNOFILE=65536 in the service unit (the limit of the service counts, not of this shell)`,
  })];
}

async function checkMemory(): Promise<Finding[]> {
  const text = await readSystemFile("/proc/meminfo");
  const available = /^MemAvailable:\s+(\d+) kB/m.exec(text);
  if (available === null) return [];
  const group = await readSystemFile("/sys/fs/cgroup/memory.max");
  const limit = /^\d+/.test(group) ? Number(group) : Infinity;
  const free = Math.min(Number(available[1]) * 1024, limit);
  if (free >= LITTLE_MEMORY) return [ok("memory", `${bytesText(free)} available`)];
  return [warn("memory", {
    message: `only ${bytesText(free)} available`,
    advice: "give the server 1 GB, or lower caches.global_factor",
  })];
}

/** Returns how much may still be written to the disk of a folder that may not be there yet. */
export async function freeBytes(folder: string): Promise<number> {
  const info = await statfs(await firstExisting(folder));
  return Number(info.bavail) * Number(info.bsize);
}

async function checkDisk(folder: string): Promise<Finding[]> {
  let free: number;
  try {
    free = await freeBytes(folder);
  } catch (error) {
    return [
      warn("disk", { message: `cannot tell how full the disk of ${folder} is: ${reasonText(error)}`, advice: "look" }),
    ];
  }
  const message = `${bytesText(free)} free for ${folder}`;
  if (free >= LITTLE_DISK) return [ok("disk", message)];
  const advice = "make room: `synapse-ts disk` shows what takes it and what could be freed";
  return [free < NO_DISK ? fail("disk", { message, advice }) : warn("disk", { message, advice })];
}

async function firstExisting(folder: string): Promise<string> {
  for (let path = folder;; path = dirname(path)) {
    if (path === dirname(path) || await Deno.stat(path).then(() => true, () => false)) return path;
  }
}

async function checkMediaStore({ media }: Config): Promise<Finding[]> {
  const folder = resolve(media.mediaStorePath);
  const info = await Deno.stat(folder).catch(() => null);
  if (info === null) return [ok("media", `${folder} will be made when the server starts`)];
  const probe = `${folder}/.doctor-${Deno.pid}`;
  try {
    await Deno.writeTextFile(probe, "", { createNew: true });
    await Deno.remove(probe);
    return [ok("media", `${folder} can be written`)];
  } catch (error) {
    return [fail("media", {
      message: `${folder} cannot be written: ${reasonText(error)}`,
      advice: "give the folder to the user that the server runs as",
    })];
  }
}
