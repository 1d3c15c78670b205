/**
 * The records of keyspaces that were dropped: removed when the configuration says so, and at the start when
 * that was missed. What the disk does not let go of now is tried again until it does.
 */
import type { KeyspaceId } from '../base/ids.ts'
import { Pauses } from '../cluster/pauses.ts'
import type { Effects } from '../effects/effects.ts'
import type { Configuration } from '../protocol/configuration.ts'
import type { Store } from '../store/store.ts'

const FIRST_RETRY_MS = 200
const LAST_RETRY_MS = 30_000

export class DroppedKeyspaces {
  readonly #store: Store
  readonly #log: Effects['log']
  readonly #pauses: Pauses
  /** What goes on: a drop of each keyspace at most, and the look for leftovers. */
  readonly #running = new Set<Promise<void>>()
  #isStopped = false

  constructor(store: Store, { clock, log }: Pick<Effects, 'clock' | 'log'>) {
    this.#store = store
    this.#log = log
    this.#pauses = new Pauses(clock)
  }

  /** Looks for those that were dropped while this peer was away. */
  start(configuration: Configuration): void {
    this.#begin(() => this.#dropLeftovers(configuration))
  }

  /** Their keyspaces take no writes when it returns; the records go later. */
  configurationChanged(before: Configuration, after: Configuration): void {
    for (const { id } of before.keyspaces) if (!holds(after, id)) this.#begin(() => this.#drop(id))
  }

  /** Fulfils when nothing of it goes on. What is left the next start finds. */
  async stop(): Promise<void> {
    this.#isStopped = true
    this.#pauses.stop()
    await Promise.all(this.#running)
  }

  #begin(run: () => Promise<void>): void {
    if (this.#isStopped) return
    const running = run().finally(() => this.#running.delete(running))
    this.#running.add(running)
  }

  async #dropLeftovers(configuration: Configuration): Promise<void> {
    await this.#untilDone('keyspace.leftovers_kept', {}, async () => {
      for (const id of await this.#store.keyspaceIds()) {
        if (holds(configuration, id) || id >= configuration.nextKeyspaceId) continue
        if (!this.#isStopped) await this.#store.removal.dropKeyspace(id)
      }
    })
  }

  #drop(keyspaceId: KeyspaceId): Promise<void> {
    return this.#untilDone('keyspace.not_dropped', { keyspaceId }, () =>
      this.#store.removal.dropKeyspace(keyspaceId),
    )
  }

  /** The database may be opened anew at any time, and the disk may fail. */
  async #untilDone(event: string, fields: object, work: () => Promise<void>): Promise<void> {
    for (let retryMs = FIRST_RETRY_MS; !this.#isStopped; retryMs = Math.min(2 * retryMs, LAST_RETRY_MS)) {
      try {
        return await work()
      } catch (error) {
        this.#log.warn(event, { ...fields, error, retryMs })
        await this.#pauses.pause(retryMs)
      }
    }
  }
}

function holds(configuration: Configuration, keyspaceId: KeyspaceId): boolean {
  return configuration.keyspaces.some(({ id }) => id === keyspaceId)
}
