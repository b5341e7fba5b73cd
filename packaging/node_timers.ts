/**
 * Timers as Node has them, in the place of the global ones wherever joined modules use those. Packages expect objects with
 * `unref`; Deno gives them to packages in `node_modules` and numbers to everybody else.
 */
export { clearImmediate, clearInterval, clearTimeout, setImmediate, setInterval, setTimeout } from "node:timers";
