/**
 * A causal context as clients carry it: opaque text, safe in headers and URLs, bound to one key of one
 * keyspace of one cluster by a checksum. `checksum.actor-n.actor-n~actor-n`: the vector, then after `~` the
 * loose dots; n in base 36.
 */

import type { Bytes } from '../base/bytes.ts'
import { KvError } from '../base/error.ts'
import { hash32, hashText32 } from '../base/hash.ts'
import { type ActorId, type KeyspaceId, parseActorId } from '../base/ids.ts'
import { compareDots } from './dvv.ts'
import type { Dot, DotSet } from './record.ts'

export const MAX_CONTEXT_LENGTH = 64 * 1024

/** What a context is bound to, as the checksum's seed. `clusterSeed` is `hashText32(clusterId)`. */
export function contextSeed(clusterSeed: number, keyspaceId: KeyspaceId, key: Bytes): number {
  return hash32(key, (clusterSeed ^ Math.imul(keyspaceId, 0x9e3779b1)) >>> 0)
}

export function encodeContext(set: DotSet, seed: number): string {
  let body = ''
  for (const [actor, n] of set.vector) body += `.${actor}-${n.toString(36)}`
  for (const dot of set.loose) body += `~${dot.actor}-${dot.n.toString(36)}`
  return checksum(body, seed) + body
}

/** @throws INVALID_ARGUMENT for anything but a context of this very key */
export function decodeContext(text: string, seed: number): DotSet {
  const body = text.slice(8)
  if (text.length > MAX_CONTEXT_LENGTH || checksum(body, seed) !== text.slice(0, 8)) throw malformed()
  const vector = new Map<ActorId, number>()
  const loose: Dot[] = []
  for (const entry of body.match(/[.~][^.~]+/g) ?? []) {
    const dot = decodeDot(entry.slice(1))
    if (entry.startsWith('.')) vector.set(dot.actor, dot.n)
    else loose.push(dot)
  }
  return { vector, loose: loose.sort(compareDots) }
}

function decodeDot(entry: string): Dot {
  const n = Number.parseInt(entry.slice(17), 36)
  if (entry[16] !== '-' || !Number.isSafeInteger(n) || n < 1) throw malformed()
  return { actor: parseActorId(entry.slice(0, 16)), n }
}

function checksum(body: string, seed: number): string {
  return hashText32(body, seed).toString(16).padStart(8, '0')
}

function malformed(): KvError {
  return new KvError(
    'INVALID_ARGUMENT',
    'this is not a context of this key; use the one that a get or put of the same key returned',
  )
}
