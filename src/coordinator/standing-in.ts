/**
 * Sloppy quorums: in keyspaces that allow it, the next live peers keep writes for owners that are away, each
 * for one owner, and count in its place (DeCandia et al., "Dynamo", 2007, section 4.6). They are no owners:
 * what they do not have may still be with one.
 */
import type { Bytes } from '../base/bytes.ts'
import { KvError } from '../base/error.ts'
import type { ActorId, NodeId } from '../base/ids.ts'
import { MAX_REPLICAS } from '../protocol/configuration.ts'
import type { Merged } from '../store/slot.ts'
import type { Store } from '../store/store.ts'
import type { Coordination } from './coordination.ts'
import type { KeyPlace } from './quorum-read.ts'

/** Who may stand in: nobody; other peers; other peers, and this one first. */
export type StandInRule = 'nobody' | 'others' | 'selfFirst'

/** Those who may stand in now, by preference: no more than a key can have owners. */
export function liveStandIns(
  { selfId, ring, isAlive }: Coordination,
  { keyspace, partition }: KeyPlace,
  rule: StandInRule,
): readonly NodeId[] {
  if (rule === 'nobody' || keyspace.quorum === 'strict') return []
  const others = ring()
    .standIns(keyspace, partition)
    .filter((nodeId) => nodeId !== selfId && isAlive(nodeId))
  return (rule === 'selfFirst' ? [selfId, ...others] : others).slice(0, MAX_REPLICAS)
}

/** Whether this peer may keep a record for the key's owners: it is none of them, and does not leave. */
export function mayStandIn({ selfId, ring }: Coordination, { keyspace, partition }: KeyPlace): boolean {
  return keyspace.quorum !== 'strict' && ring().standIns(keyspace, partition).includes(selfId)
}

/** Merges a record into what is kept here for owners; a refusal is told as a failure is. */
export function keepStandIn(
  store: Store,
  { keyspace, partition, key }: KeyPlace,
  targets: readonly NodeId[],
  record: Bytes,
  mintedBy: ActorId | null,
  done: Merged,
): void {
  try {
    store.standIns.merge(keyspace, partition, key, targets, record, mintedBy, done)
  } catch (error) {
    if (!(error instanceof KvError)) throw error
    done(error, 0)
  }
}
