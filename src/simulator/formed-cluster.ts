/**
 * Disks of a cluster that has formed already: every peer's identity, votes and addresses, and the one
 * configuration that names them all. For measurements of clusters so large that joining would take longer
 * than what is measured.
 */
import type { Bytes } from '../base/bytes.ts'
import { type Address, parseClusterId, parseNodeId } from '../base/ids.ts'
import { CONFIGURATION_FILE, savedConfigurationCodec } from '../cluster/configuration-adoption.ts'
import { TwinFile } from '../cluster/twin-file.ts'
import { VOTES_FILE, votesCodec } from '../cluster/votes.ts'
import type { Log } from '../effects/log.ts'
import { ADDRESSES_FILE, addressesCodec } from '../node/address-book.ts'
import { encodeIdentity, IDENTITY_FILE } from '../node/identity.ts'
import type { Configuration, Member } from '../protocol/configuration.ts'
import { begin, finish, firstConfiguration, switchOver } from '../protocol/configuration-change.ts'
import { NO_VOTES } from '../protocol/synod.ts'
import { encodeConfiguration } from '../wire/configuration-codec.ts'
import { pack } from '../wire/msgpack.ts'
import { EPOCH_MS } from './sim-clock.ts'
import { createSimRandom } from './sim-random.ts'
import type { SimWorld } from './sim-world.ts'

export interface FormedPeer {
  readonly host: string
  readonly address: Address
  readonly zone: string
  readonly weight: number
}

/** Fills the disks of hosts that have never run. */
export async function formCluster(
  world: SimWorld,
  peers: readonly FormedPeer[],
  partitionCount: number,
): Promise<Configuration> {
  const random = createSimRandom(world.prng.fork('formed'))
  const named = peers.map((peer) => ({ ...peer, nodeId: parseNodeId(random.id()), acceptorId: random.id() }))
  const configuration = configurationOf(named, random.id(), partitionCount)
  const saved = pack(savedConfigurationCodec.encode({ configuration: encodeConfiguration(configuration) }))
  const unmet = { generation: null, bootNonce: null }
  const addresses = pack(addressesCodec.encode(named.map((peer) => ({ ...peer, ...unmet }))))
  for (const peer of named) {
    const { nodeId, acceptorId } = peer
    const files = new Map<string, Bytes>()
    await writeTwin(
      files,
      IDENTITY_FILE,
      encodeIdentity({
        nodeId,
        generation: 1,
        clusterId: configuration.clusterId,
        bootNonce: null,
        storeId: null,
        hasLeft: null,
      }),
    )
    await writeTwin(files, CONFIGURATION_FILE, saved)
    await writeTwin(files, VOTES_FILE, pack(votesCodec.encode({ acceptorId, ...NO_VOTES })))
    await writeTwin(files, ADDRESSES_FILE, addresses)
    const { disk } = world.host(peer.host)
    disk.restore({ tree: disk.image().tree, files })
  }
  return configuration
}

type NamedPeer = Member & { readonly acceptorId: string }

function configurationOf(
  peers: readonly NamedPeer[],
  clusterId: string,
  partitionCount: number,
): Configuration {
  const [founder, ...others] = peers as [NamedPeer, ...NamedPeer[]]
  const member = ({ nodeId, zone, weight }: NamedPeer): Member => ({ nodeId, zone, weight })
  const first = firstConfiguration({
    clusterId: parseClusterId(clusterId),
    member: member(founder),
    acceptorId: founder.acceptorId,
    partitionCount,
    nowMs: EPOCH_MS,
  })
  if (others.length === 0) return first
  return finish(
    switchOver(begin(first, { joining: others.map(member) }, EPOCH_MS), EPOCH_MS),
    peers,
    EPOCH_MS,
  )
}

function writeTwin(files: Map<string, Bytes>, name: string, payload: Bytes): Promise<void> {
  const storage = {
    readFile: async (file: string) => files.get(file) ?? null,
    writeFile: async (file: string, bytes: Bytes) => {
      files.set(file, bytes)
    },
  }
  return new TwinFile(storage, SILENT, name).write(payload)
}

const SILENT: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
}
