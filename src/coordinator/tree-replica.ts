/** The other end of a tree exchange: tells what the hash trees here say, and which keys lie where. */
import type { Bytes } from '../base/bytes.ts'
import { KvError } from '../base/error.ts'
import type { KeyspaceId, NodeId } from '../base/ids.ts'
import type { PeerLink } from '../cluster/peer-link.ts'
import type { Keyspace } from '../protocol/configuration.ts'
import { type Digest, FANOUT_BITS, HashTree, LEAF_BITS, recordDigest } from '../protocol/hash-tree.ts'
import type { HashTrees } from '../store/hash-trees.ts'
import type { Store } from '../store/store.ts'
import type { Refusal } from '../wire/data-messages.ts'
import type { PeerReply } from '../wire/peer-messages.ts'
import { MAX_LISTED_KEYS, type RepairRequest } from '../wire/repair-messages.ts'
import type { Coordination } from './coordination.ts'
import { isShared, mayTell, sharedPartitions } from './shared-partitions.ts'

type Ask<T extends RepairRequest['type']> = Extract<RepairRequest, { type: T }>

/** Partitions that are read for others at once. */
const MAX_LISTINGS = 4

/** In place of a digest: our copy is damaged, or the disk away. */
export const UNREADABLE: Digest = 2n ** 64n - 1n

export const EMPTY_TREE = new HashTree()

export class TreeReplica {
  readonly #with: Coordination
  #listings = 0

  constructor(coordination: Coordination) {
    this.#with = coordination
  }

  serve(from: NodeId, message: RepairRequest, link: PeerLink): void {
    const { store } = this.#with
    // What is on its way to the disk belongs to it: those who sent it may be told any moment that it is
    // there.
    if (message.type !== 'roots' || store.isIdle) this.#serve(from, message, link)
    else void store.settled().then(() => this.#serve(from, message, link))
  }

  #serve(from: NodeId, message: RepairRequest, link: PeerLink): void {
    const keyspace = this.#keyspace(from, message)
    if (typeof keyspace === 'string') return this.#refuse(link, message.id, keyspace)
    const { hashTrees: trees, completeness } = this.#with.store
    // Its number would not tell this life from the one before.
    if (!completeness.isAdmitted) {
      return this.#refuse(link, message.id, 'catchingUp')
    }
    if (trees === null) return this.#refuse(link, message.id, this.#unknown(message))
    switch (message.type) {
      case 'roots':
        return this.#tellRoots(from, keyspace, trees, message, link)
      case 'slices':
        return this.#tellSlices(from, keyspace, trees, message, link)
      case 'listKeys':
        return this.#list(from, keyspace, message, link)
      case 'digests':
        return this.#tellDigests(message, link)
    }
  }

  /**
   * While it is not known what is on disk. It will be soon, and nothing is to be given up for it, unless a
   * scan met what cannot be read.
   */
  #unknown({ type }: RepairRequest): Refusal {
    const { outage, inventory } = this.#with.store
    return type === 'roots' && outage === null && inventory.isUnreadable ? 'failed' : 'catchingUp'
  }

  /** Why it cannot be answered, or the keyspace it is about. */
  #keyspace(from: NodeId, { number, keyspaceId }: RepairRequest): Keyspace | Refusal {
    const own = this.#number
    if (number < own) return 'stale'
    if (number > own || own === 0) {
      this.#with.sawNumber(from, number)
      return 'behind'
    }
    return this.#with.ring().keyspaceById(keyspaceId) ?? 'notOwner'
  }

  #tellRoots(
    from: NodeId,
    keyspace: Keyspace,
    trees: HashTrees,
    { id, isLost }: Ask<'roots'>,
    link: PeerLink,
  ): void {
    const shared = sharedPartitions(this.#with.ring(), keyspace, this.#with.selfId, from)
    const partitions = shared.filter((partition) => trees.root(keyspace.id, partition) !== 0n)
    const roots = partitions.map((partition) => trees.root(keyspace.id, partition))
    const incomplete = shared.filter((each) => !mayTell(this.#with, from, keyspace, each, isLost === true))
    this.#answer(link, { type: 'rootsDone', id, partitions, roots, incomplete }, 11 * partitions.length)
  }

  #tellSlices(
    from: NodeId,
    keyspace: Keyspace,
    trees: HashTrees,
    { id, partition, bits, places }: Ask<'slices'>,
    link: PeerLink,
  ): void {
    const isWrong = bits + FANOUT_BITS > LEAF_BITS || places.some((place) => place >= 2 ** bits)
    if (isWrong || !this.#shares(from, keyspace, partition)) return this.#refuse(link, id, 'notOwner')
    const tree = trees.find(keyspace.id, partition) ?? EMPTY_TREE
    const children = places.flatMap((place) => [...tree.children(bits, place)])
    this.#answer(link, { type: 'slicesDone', id, children }, 8 * children.length)
  }

  #list(
    from: NodeId,
    keyspace: Keyspace,
    { id, partition, leaves, after }: Ask<'listKeys'>,
    link: PeerLink,
  ): void {
    if (!this.#shares(from, keyspace, partition)) return this.#refuse(link, id, 'notOwner')
    if (this.#listings >= MAX_LISTINGS) return this.#refuse(link, id, 'overloaded')
    this.#listings += 1
    const place = { keyspaceId: keyspace.id, partition, leaves: new Set(leaves) }
    const listing = this.#with.store.partitions.list(place, after, MAX_LISTED_KEYS)
    listing
      .then(
        ({ entries, last }) => {
          const keys = entries.map(({ key }) => key)
          const bytes = keys.reduce((sum, key) => sum + key.length + 12, 0)
          const digests = entries.map(({ digest }) => digest)
          this.#answer(link, { type: 'keysDone', id, keys, digests, last }, bytes)
        },
        (error: unknown) => {
          this.#with.log.warn('repair.not-listed', { error })
          this.#refuse(link, id, this.#with.store.hashTrees === null ? 'catchingUp' : 'failed')
        },
      )
      .finally(() => {
        this.#listings -= 1
      })
  }

  #tellDigests({ id, keyspaceId, keys }: Ask<'digests'>, link: PeerLink): void {
    const ring = this.#with.ring()
    const { store } = this.#with
    const digests = keys.map((key) => heldDigest(store, keyspaceId, ring.partitionOf(key), key))
    this.#answer(link, { type: 'digestsDone', id, digests }, 8 * digests.length)
  }

  #shares(from: NodeId, keyspace: Keyspace, partition: number): boolean {
    const ring = this.#with.ring()
    if (partition >= ring.partitionCount) return false
    return isShared(ring, keyspace, partition, this.#with.selfId, from)
  }

  #answer(link: PeerLink, answer: PeerReply, sizeBytes: number): void {
    if (!link.send(answer, sizeBytes)) this.#refuse(link, answer.id, 'overloaded')
  }

  #refuse(link: PeerLink, id: number, reason: Refusal): void {
    link.send({ type: 'refused', id, reason, number: this.#number }, 0)
  }

  /** 0 while there is no configuration here. */
  get #number(): number {
    return this.#with.hasRing() ? this.#with.ring().number : 0
  }
}

/** Of the record on disk. 0: there is none. Unlike any other's when it cannot be read. */
export function heldDigest(store: Store, keyspaceId: KeyspaceId, partition: number, key: Bytes): Digest {
  try {
    const record = store.read(keyspaceId, partition, key)
    return record === null ? 0n : recordDigest(keyspaceId, key, record)
  } catch (error) {
    if (!(error instanceof KvError)) throw error
    return UNREADABLE
  }
}
