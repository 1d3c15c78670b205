/** The other end of a quorum: answers what this peer's disk holds, and puts on it what a coordinator sends. */
import type { NodeId } from '../base/ids.ts'
import type { PeerLink } from '../cluster/peer-link.ts'
import { partitionOf } from '../protocol/ring.ts'
import { seenOnlyRecord } from '../store/record-codec.ts'
import type { DataRequest, Refusal } from '../wire/data-messages.ts'
import type { Coordination } from './coordination.ts'

type ReadMessage = Extract<DataRequest, { type: 'read' }>
type ReplicateMessage = Extract<DataRequest, { type: 'replicate' }>

export class Replica {
  readonly #with: Coordination

  constructor(coordination: Coordination) {
    this.#with = coordination
  }

  read(from: NodeId, message: ReadMessage, link: PeerLink): void {
    const { id, key } = message
    const refusal = this.#refusal(from, message)
    if (refusal !== null) return this.#refuse(link, id, refusal)
    const ring = this.#with.ring()
    const record = this.#with.store.read(message.keyspaceId, partitionOf(key, ring.partitionCount), key)
    const shown = record !== null && message.seenOnly ? seenOnlyRecord(key, record) : record
    link.send({ type: 'record', id, record: shown }, shown?.length ?? 0)
  }

  replicate(from: NodeId, message: ReplicateMessage, link: PeerLink): void {
    const { id, key, keyspaceId, record, mintedBy } = message
    const refusal = this.#refusal(from, message)
    if (refusal !== null) return this.#refuse(link, id, refusal)
    const ring = this.#with.ring()
    const keyspace = ring.keyspaceById(keyspaceId)
    if (keyspace === null) return this.#refuse(link, id, 'notOwner')
    const partition = partitionOf(key, ring.partitionCount)
    this.#with.store.merge(keyspace, partition, key, record, mintedBy, (error, seenUpTo) => {
      if (error === null) link.send({ type: 'stored', id, seenUpTo }, 0)
      else this.#refuse(link, id, error.code === 'OVERLOADED' ? 'overloaded' : 'failed')
    })
  }

  /** Why a request routed under another configuration, or to the wrong peer, is not served. */
  #refusal(from: NodeId, message: ReadMessage | ReplicateMessage): Refusal | null {
    const ring = this.#with.ring()
    if (message.number < ring.number) return 'stale'
    if (message.number > ring.number) {
      this.#with.sawNumber(from, message.number)
      return 'behind'
    }
    const keyspace = ring.keyspaceById(message.keyspaceId)
    const partition = partitionOf(message.key, ring.partitionCount)
    return keyspace !== null && ring.isOwner(this.#with.selfId, keyspace, partition) ? null : 'notOwner'
  }

  #refuse(link: PeerLink, id: number, reason: Refusal): void {
    link.send({ type: 'refused', id, reason, number: this.#with.ring().number }, 0)
  }
}
