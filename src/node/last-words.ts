/** What is said of a peer that is no member of its cluster any more, and of what its directory is worth. */
import { KvError } from '../base/error.ts'
import type { NodeId } from '../base/ids.ts'
import { type Configuration, targetLayout } from '../protocol/configuration.ts'

const EMPTY = 'to join as a new peer it needs an empty one'

/**
 * With `next` the peer is out, and had taken part in each step before: others have all that it owned. Of one
 * that was away in between nobody can say that.
 */
export function hasHandedOver(before: Configuration | null, next: Configuration, nodeId: NodeId): boolean {
  if (before?.phase !== 'switched' || next.number !== before.number + 1) return false
  return !before.excluded.includes(nodeId) && !targetLayout(before).members.includes(nodeId)
}

/** @param how in words @param directory where its data is */
export function wasRemoved(how: string, directory: string): KvError {
  const kept = `what it took while the others could not reach it is in its data directory ${directory} alone`
  return new KvError(
    'CONFLICT',
    `this peer was removed from its cluster (${how}); ${kept}: keep that; ${EMPTY}`,
  )
}

export function hasLeft(directory: string): KvError {
  const useless = `its data directory ${directory} is of no more use`
  const handed = 'this peer has left its cluster and handed over what it owned'
  return new KvError('CONFLICT', `${handed}: ${useless}; ${EMPTY}`)
}
