/**
 * A causal context as clients carry it: opaque text, safe in headers and URLs, bound to one key of one
 * keyspace of one cluster by a checksum. `checksum.actor-n.actor-n~actor-n`: the vector, then after `~` the
 * loose dots; n in base 36.
 *
 * What a key has seen grows with every store that ever wrote it, and is never pruned; contexts are bounded,
 * because they travel in HTTP headers and in messages of their own limit. One that would be too long is made
 * of the dots alone that its reader saw or its writer minted. It replaces those, and a context may always
 * cover less: what else the longer one names was superseded before, and a replica that has not heard of it
 * shows it as a sibling at worst, until it has.
 */

import type { Bytes } from '../base/bytes.ts'
import { KvError } from '../base/error.ts'
import { hash32, hashText32 } from '../base/hash.ts'
import { type ActorId, type KeyspaceId, parseActorId } from '../base/ids.ts'
import { compareDots } from './dvv.ts'
import type { Dot, DotSet } from './record.ts'

/** No longer one is taken, or made. */
export const MAX_CONTEXT_LENGTH = 64 * 1024
/** Half of what HTTP clients take as all headers of one answer. */
const MAX_FULL_LENGTH = 8 * 1024
const CHECKSUM_LENGTH = 8
/** Separator, actor, `-`, n. */
const MAX_ENTRY_LENGTH = 1 + 16 + 1 + 11

/** What a context is bound to, as the checksum's seed. `clusterSeed` is `hashText32(clusterId)`. */
export function contextSeed(clusterSeed: number, keyspaceId: KeyspaceId, key: Bytes): number {
  return hash32(key, (clusterSeed ^ Math.imul(keyspaceId, 0x9e3779b1)) >>> 0)
}

/** Null: it would be too long; `encodeDots` what it is about. */
export function encodeContext(set: DotSet, seed: number): string | null {
  let body = ''
  for (const [actor, n] of set.vector) body += `.${actor}-${n.toString(36)}`
  for (const dot of set.loose) body += `~${dot.actor}-${dot.n.toString(36)}`
  return body.length <= MAX_FULL_LENGTH ? checksum(body, seed) + body : null
}

/** A context of these dots alone; of those that have room, should they be thousands. */
export function encodeDots(dots: Iterable<Dot>, seed: number): string {
  let body = ''
  for (const { actor, n } of dots) {
    if (body.length > MAX_CONTEXT_LENGTH - CHECKSUM_LENGTH - MAX_ENTRY_LENGTH) break
    body += `~${actor}-${n.toString(36)}`
  }
  return checksum(body, seed) + body
}

/** @throws INVALID_ARGUMENT for anything but a context of this very key */
export function decodeContext(text: string, seed: number): DotSet {
  const body = text.slice(CHECKSUM_LENGTH)
  if (text.length > MAX_CONTEXT_LENGTH || checksum(body, seed) !== text.slice(0, CHECKSUM_LENGTH))
    throw malformed()
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
  return hashText32(body, seed).toString(16).padStart(CHECKSUM_LENGTH, '0')
}

function malformed(): KvError {
  return new KvError(
    'INVALID_ARGUMENT',
    'this is not a context of this key; use the one that a get or put of the same key returned',
  )
}
