/**
 * Matrix identifiers and their grammar. Spec: appendices, "Identifier grammar".
 *
 * Each identifier is a branded string made only by its `parse*` function, so that a checked value is told from raw input
 * by the compiler. Historical forms that the spec tells servers to accept are accepted.
 */
export type Brand<T, B extends string> = T & { readonly __brand: B };

export type UserId = Brand<string, "UserId">;
export type RoomId = Brand<string, "RoomId">;
export type RoomAlias = Brand<string, "RoomAlias">;
export type EventId = Brand<string, "EventId">;
export type ServerName = Brand<string, "ServerName">;
export type DeviceId = Brand<string, "DeviceId">;
