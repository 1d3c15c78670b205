/** The other end of a partition's copy: an old owner gives its records, a page at a time. */
import { KvError } from '../base/error.ts'
import type { NodeId } from '../base/ids.ts'
import type { PeerLink } from '../cluster/peer-link.ts'
import type { Refusal } from '../wire/data-messages.ts'
import { MAX_PAGE_RECORDS, type TransferRequest } from '../wire/transfer-messages.ts'
import type { Coordination } from './coordination.ts'
import { isShared } from './shared-partitions.ts'

/** Pages that are read for others at once, and questions that wait for their turn: they weigh nothing. */
const MAX_PAGES = 8
const MAX_WAITING = 256
const PAGE_BYTES = 256 * 1024

export class PartitionSource {
  readonly #with: Coordination
  #pages = 0
  readonly #waiting: (() => void)[] = []

  constructor(coordination: Coordination) {
    this.#with = coordination
  }

  serve(from: NodeId, message: TransferRequest, link: PeerLink): void {
    const { id } = message
    const refusal = this.#refusal(from, message)
    if (refusal !== null) return this.#refuse(link, id, refusal)
    if (this.#pages < MAX_PAGES) return this.#serve(message, link)
    if (this.#waiting.length >= MAX_WAITING) return this.#refuse(link, id, 'overloaded')
    // The configuration may be another one by then.
    this.#waiting.push(() => {
      const refusalNow = this.#refusal(from, message)
      if (refusalNow === null) this.#serve(message, link)
      else this.#refuse(link, id, refusalNow)
    })
  }

  #serve({ id, keyspaceId, partition, after }: TransferRequest, link: PeerLink): void {
    this.#pages += 1
    const { partitions } = this.#with.store
    partitions
      .page({ keyspaceId, partition }, after, MAX_PAGE_RECORDS, PAGE_BYTES)
      .then(
        ({ keys, records, last, bytes }) => {
          const isSent = link.send({ type: 'recordsFetched', id, keys, records, last }, bytes)
          if (!isSent) this.#refuse(link, id, 'overloaded')
        },
        (error: unknown) => {
          if (!(error instanceof KvError)) this.#with.log.warn('transfer.not-read', { error })
          this.#refuse(link, id, 'failed')
        },
      )
      .finally(() => {
        this.#pages -= 1
        while (this.#pages < MAX_PAGES && this.#waiting.length > 0) this.#waiting.shift()?.()
      })
  }

  #refusal(from: NodeId, { number, keyspaceId, partition }: TransferRequest): Refusal | null {
    const own = this.#number
    if (number < own) return 'stale'
    if (number > own || own === 0) {
      this.#with.sawNumber(from, number)
      return 'behind'
    }
    const ring = this.#with.ring()
    const keyspace = ring.keyspaceById(keyspaceId)
    if (keyspace === null || partition >= ring.partitionCount) return 'notOwner'
    if (!isShared(ring, keyspace, partition, this.#with.selfId, from)) return 'notOwner'
    return this.#with.isComplete(keyspaceId, partition) ? null : 'catchingUp'
  }

  #refuse(link: PeerLink, id: number, reason: Refusal): void {
    link.send({ type: 'refused', id, reason, number: this.#number }, 0)
  }

  /** 0 while there is no configuration here. */
  get #number(): number {
    return this.#with.hasRing() ? this.#with.ring().number : 0
  }
}
