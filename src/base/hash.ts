/**
 * xxHash (https://github.com/Cyan4973/xxHash, specification 0.1.1), by way of xxhash-wasm: one hash for key
 * placement and checksums, so that every peer and client agrees. The module is ready when its import is.
 */
import loadXxhash from 'xxhash-wasm'
import type { Bytes } from './bytes.ts'

const xxhash = await loadXxhash()

/** What peers compare in their handshake: a peer with another hash would place keys elsewhere. */
export const HASH_NAME = 'xxh32'

/** 32 unsigned bits. */
export function hash32(bytes: Bytes, seed = 0): number {
  return xxhash.h32Raw(bytes, seed)
}

/** 64 unsigned bits. */
export function hash64(bytes: Bytes, seed = 0n): bigint {
  return xxhash.h64Raw(bytes, seed)
}

/** 32 unsigned bits of a text's UTF-8. */
export function hashText32(text: string, seed = 0): number {
  return xxhash.h32(text, seed)
}
