/** What a client knows of the cluster: which peers there are, which are up, and who owns a key. */
import { type Bytes, equalBytes } from '../base/bytes.ts'
import type { Address, NodeId } from '../base/ids.ts'
import { createRing, type Ring } from '../protocol/ring.ts'
import { decodeConfiguration } from '../wire/configuration-codec.ts'

interface KnownPeer {
  readonly nodeId: NodeId
  readonly address: Address
  readonly alive: boolean
}

export class Topology {
  readonly #configuration: Bytes
  readonly #ring: Ring
  readonly #peers: ReadonlyMap<NodeId, KnownPeer>
  /** By list of owners: the ring keeps one for each partition. */
  readonly #addresses = new Map<readonly NodeId[], readonly Address[]>()

  /** @param before mostly it is the peers that change, and the ring stays. @throws MalformedMessage */
  constructor(configuration: Bytes, peers: readonly KnownPeer[], before: Topology | null = null) {
    const isSame = before !== null && equalBytes(before.#configuration, configuration)
    this.#configuration = isSame ? before.#configuration : configuration
    this.#ring = isSame ? before.#ring : createRing(decodeConfiguration(configuration))
    this.#peers = new Map(peers.map((peer) => [peer.nodeId, peer]))
  }

  /** Peers that are up. */
  addresses(): Address[] {
    return [...this.#peers.values()].filter((peer) => peer.alive).map((peer) => peer.address)
  }

  /** Owners of a key that are up and not being removed, by preference; none when the keyspace is unknown. */
  ownersOf(keyspaceName: string, key: Bytes): readonly Address[] {
    const keyspace = this.#ring.keyspace(keyspaceName)
    if (keyspace === null || key.length === 0) return []
    const owners = this.#ring.readOwners(keyspace, this.#ring.partitionOf(key))
    let addresses = this.#addresses.get(owners)
    if (addresses === undefined) {
      addresses = owners.flatMap((owner) => {
        const peer = this.#peers.get(owner)
        return peer?.alive === true && !this.#ring.isExcluded(owner) ? [peer.address] : []
      })
      this.#addresses.set(owners, addresses)
    }
    return addresses
  }
}
