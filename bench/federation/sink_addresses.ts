/** Returns so many addresses of this machine, each of which stands for a server. */
export function sinkAddresses(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `127.1.${index >> 8}.${index & 255}`);
}
