/** The other end of a partition's copy: an old owner gives its records, a page at a time. */
import type { Bytes } from '../base/bytes.ts'
import { KvError } from '../base/error.ts'
import type { KeyspaceId, NodeId } from '../base/ids.ts'
import type { PeerLink } from '../cluster/peer-link.ts'
import type { RecordPage } from '../store/record-page.ts'
import type { Refusal } from '../wire/data-messages.ts'
import { MAX_PAGE_RECORDS, type TransferRequest } from '../wire/transfer-messages.ts'
import type { Coordination } from './coordination.ts'
import { isShared } from './shared-partitions.ts'

/** Pages that are read for others at once. */
const MAX_PAGES = 4
const PAGE_BYTES = 256 * 1024

export class PartitionSource {
  readonly #with: Coordination
  #pages = 0

  constructor(coordination: Coordination) {
    this.#with = coordination
  }

  serve(from: NodeId, message: TransferRequest, link: PeerLink): void {
    const { id, keyspaceId, partition, after } = message
    const refusal = this.#refusal(from, message)
    if (refusal !== null) return this.#refuse(link, id, refusal)
    if (this.#pages >= MAX_PAGES) return this.#refuse(link, id, 'overloaded')
    this.#pages += 1
    this.#read(keyspaceId, partition, after)
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
      })
  }

  /** @throws UNAVAILABLE also when the disk gives back what was not written: its key may have been purged */
  async #read(keyspaceId: KeyspaceId, partition: number, after: Bytes | null): Promise<RecordPage> {
    const { store } = this.#with
    if (!(await store.isAsKept(keyspaceId, partition))) {
      throw new KvError('UNAVAILABLE', "this peer's disk has to be looked at first")
    }
    return store.partitions.page({ keyspaceId, partition }, after, MAX_PAGE_RECORDS, PAGE_BYTES)
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
