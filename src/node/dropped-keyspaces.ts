/**
 * The records of keyspaces that were dropped: removed when the configuration says so, and at the start when
 * that was missed.
 */
import type { KeyspaceId } from '../base/ids.ts'
import type { Log } from '../effects/log.ts'
import type { Configuration } from '../protocol/configuration.ts'
import type { Store } from '../store/store.ts'

/** Keyspaces of `before` that are not in `after`. */
export function dropRecordsBetween(
  store: Store,
  log: Log,
  before: Configuration,
  after: Configuration,
): void {
  for (const { id } of before.keyspaces) if (!holds(after, id)) void dropRecords(store, log, id)
}

/** Those that were dropped while this peer was away. Does not reject. */
export async function dropLeftovers(store: Store, log: Log, configuration: Configuration): Promise<void> {
  try {
    for (const id of await store.keyspaceIds()) {
      if (!holds(configuration, id) && id < configuration.nextKeyspaceId) await dropRecords(store, log, id)
    }
  } catch (error) {
    log.warn('keyspace.leftovers_kept', { error }) // They are in nobody's way; the next start tries again.
  }
}

function holds(configuration: Configuration, keyspaceId: KeyspaceId): boolean {
  return configuration.keyspaces.some(({ id }) => id === keyspaceId)
}

async function dropRecords(store: Store, log: Log, keyspaceId: KeyspaceId): Promise<void> {
  try {
    await store.dropKeyspace(keyspaceId)
  } catch (error) {
    log.error('keyspace.not_dropped', { keyspaceId, error }) // The next start tries again.
  }
}
