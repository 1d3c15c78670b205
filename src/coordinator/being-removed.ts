/** What writers are told of owners that were given up: they count for nothing, though they may be up. */
import { KvError } from '../base/error.ts'
import type { NodeId } from '../base/ids.ts'
import type { Ring } from '../protocol/ring.ts'

/** Of this peer: what it took now would be dropped with it. */
export function beingRemoved(): KvError {
  const why = 'this peer is being removed from its cluster'
  return new KvError('UNAVAILABLE', `nothing was written: ${why}; ask another one`)
}

/**
 * Where one of a key's owners is: nobody else comes to own it before all who stay are up. Otherwise empty.
 */
export function removalNote(ring: Ring, owners: readonly NodeId[]): string {
  if (!owners.some((owner) => ring.isExcluded(owner))) return ''
  return ' (who is being removed does not count: others get its keys once all who stay are up)'
}
