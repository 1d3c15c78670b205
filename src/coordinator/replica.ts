/**
 * The other end of a quorum: answers what this peer's disk holds, and puts on it what a coordinator sends.
 */

import type { Bytes } from '../base/bytes.ts'
import { KvError } from '../base/error.ts'
import type { NodeId } from '../base/ids.ts'
import type { PeerLink } from '../cluster/peer-link.ts'
import { MAX_RECORD_BYTES } from '../protocol/record.ts'
import { decodeRecord, encodeRecord, RecordOverflow } from '../store/record-codec.ts'
import type { Merged } from '../store/slot.ts'
import type { DataRequest, Refusal } from '../wire/data-messages.ts'
import type { Coordination } from './coordination.ts'
import { mayTell } from './shared-partitions.ts'
import { keepStandIn } from './standing-in.ts'

type ReadMessage = Extract<DataRequest, { type: 'read' }>
type ReplicateMessage = Extract<DataRequest, { type: 'replicate' }>

export class Replica {
  readonly #with: Coordination

  constructor(coordination: Coordination) {
    this.#with = coordination
  }

  read(from: NodeId, message: ReadMessage, link: PeerLink): void {
    const { id } = message
    const refusal = this.#refusal(from, message, message.asStandIn === true)
    if (refusal !== null) return this.#refuse(link, id, refusal)
    try {
      const record = this.#read(message)
      if (record !== null && record.length > MAX_RECORD_BYTES) return this.#refuse(link, id, 'overfull')
      if (message.isDoubted === true && this.#isOld(message, record)) return this.#verify(from, message, link)
      const isSent = link.send({ type: 'record', id, record }, record?.length ?? 0)
      if (!isSent) this.#refuse(link, id, 'overloaded')
    } catch (error) {
      if (!(error instanceof KvError)) throw error
      this.#refuse(link, id, this.#unreadable) // Another owner has it.
    }
  }

  /** Read once more when the hash tree says the same: the answer may be what no other owner has. */
  #verify(from: NodeId, message: ReadMessage, link: PeerLink): void {
    const { id, keyspaceId, key } = message
    const partition = this.#with.ring().partitionOf(key)
    void this.#with.store.isAsKept(keyspaceId, partition).then((isAsKept) => {
      if (isAsKept) this.read(from, { ...message, isDoubted: false }, link)
      else this.#refuse(link, id, this.#unreadable)
    })
  }

  /** A disk that is away will be back: its records are not given up as damaged ones may be. */
  get #unreadable(): Refusal {
    return this.#with.store.outage === null ? 'failed' : 'catchingUp'
  }

  #isOld({ key, asStandIn }: ReadMessage, record: Bytes | null): boolean {
    return record !== null && asStandIn !== true && this.#with.store.isOld(decodeRecord(key, record))
  }

  replicate(from: NodeId, message: ReplicateMessage, link: PeerLink): void {
    const { id, key, keyspaceId, record, mintedBy, standInFor, era } = message
    const refusal = this.#refusal(from, message, standInFor !== null)
    if (refusal !== null) return this.#refuse(link, id, refusal)
    const generation = link.facts?.generation ?? 0
    const { eras } = this.#with
    if (!eras.admits(from, generation, era ?? 0))
      return void link.send({ type: 'eraClosed', id, ...eras.facts }, 0)
    const ring = this.#with.ring()
    const keyspace = ring.keyspaceById(keyspaceId)
    if (keyspace === null) return this.#refuse(link, id, 'notOwner')
    const partition = ring.partitionOf(key)
    const stored: Merged = (error, seenUpTo) => {
      if (error === null) link.send({ type: 'stored', id, seenUpTo }, 0)
      else this.#refuse(link, id, refusalFor(error))
    }
    if (standInFor === null) this.#with.store.merge(keyspace, partition, key, record, mintedBy, stored)
    else keepStandIn(this.#with.store, { keyspace, partition, key }, [standInFor], record, mintedBy, stored)
  }

  /** Whether a write that was handed on was routed under another configuration; then it is refused here. */
  refusesForward(from: NodeId, id: number, number: number, link: PeerLink): boolean {
    const refusal = this.#numberRefusal(from, number)
    if (refusal !== null) this.#refuse(link, id, refusal)
    return refusal !== null
  }

  /** @throws KvError when the disk does not give it */
  #read({ keyspaceId, key, seenOnly, asStandIn }: ReadMessage): Bytes | null {
    const { store } = this.#with
    const partition = this.#with.ring().partitionOf(key)
    const record = (asStandIn === true ? store.standIns : store).read(keyspaceId, partition, key)
    if (record === null || !seenOnly) return record
    return encodeRecord(key, { seen: decodeRecord(key, record).seen, values: [] })
  }

  /** Why a request routed under another configuration, or to the wrong peer, is not served. */
  #refusal(from: NodeId, message: ReadMessage | ReplicateMessage, asStandIn: boolean): Refusal | null {
    const refusal = this.#numberRefusal(from, message.number)
    if (refusal !== null) return refusal
    const ring = this.#with.ring()
    const keyspace = ring.keyspaceById(message.keyspaceId)
    const partition = ring.partitionOf(message.key)
    if (keyspace === null || ring.isOwner(this.#with.selfId, keyspace, partition) === asStandIn) {
      return 'notOwner'
    }
    if (!this.#with.store.completeness.isAdmitted) return 'catchingUp'
    // What it takes now is dropped with it, and nobody looks for it here.
    if (message.type === 'replicate' && ring.isExcluded(this.#with.selfId)) return 'notOwner'
    if (asStandIn) return keyspace.quorum === 'strict' ? 'failed' : null
    if (message.type !== 'read') return null
    return mayTell(this.#with, from, keyspace, partition, message.isLost === true) ? null : 'catchingUp'
  }

  #numberRefusal(from: NodeId, theirs: number): Refusal | null {
    const ours = this.#number
    if (theirs < ours) return 'stale'
    if (theirs === ours && ours > 0) return null
    this.#with.sawNumber(from, theirs)
    return 'behind'
  }

  #refuse(link: PeerLink, id: number, reason: Refusal): void {
    link.send({ type: 'refused', id, reason, number: this.#number }, 0)
  }

  /** 0 while there is no configuration here: whoever asks then knows a newer one. */
  get #number(): number {
    return this.#with.hasRing() ? this.#with.ring().number : 0
  }
}

/** What a coordinator is told when a record was not stored. */
function refusalFor(error: KvError): Refusal {
  if (error instanceof RecordOverflow) return 'overfull'
  return error.code === 'OVERLOADED' ? 'overloaded' : 'failed'
}
