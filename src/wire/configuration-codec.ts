/**
 * A configuration as bytes: the value that the Synod votes on, the payload that spreads it, and what lies on
 * disk. Equal configurations give equal bytes, and once decided the bytes are handed on as they are. Compact,
 * because with 1,000 members everyone gets a copy: members are arrays, zones are named once, layouts refer to
 * members by position.
 */
import { assert, present } from '../base/assert.ts'
import { type Bytes, compareBytes } from '../base/bytes.ts'
import type { KeyspaceId, NodeId } from '../base/ids.ts'
import {
  type Configuration,
  type Layout,
  MAX_ACCEPTORS,
  MAX_HISTORY,
  MAX_KEYSPACES,
  MAX_MEMBERS,
  MAX_REPLICAS,
  type Member,
  STAGED_KINDS,
} from '../protocol/configuration.ts'
import {
  findFlaw,
  MAX_PARTITION_COUNT,
  MAX_REASON_LENGTH,
  MAX_REMOVED,
  MAX_WEIGHT,
  MAX_ZONE_LENGTH,
} from '../protocol/configuration-check.ts'
import * as field from './fields.ts'
import { pack, unpack } from './msgpack.ts'
import {
  bool,
  bytes,
  list,
  MalformedMessage,
  optional,
  type ShapeValue,
  string,
  struct,
  uint,
  word,
} from './schema.ts'

/** No configuration is larger. */
export const MAX_CONFIGURATION_BYTES = 4 * 1024 * 1024
export const MAX_ACCEPTOR_ID_LENGTH = 64
const FORMAT_VERSION = 2

const position = uint(MAX_MEMBERS - 1)

const decisionShape = {
  reason: string(MAX_REASON_LENGTH),
  decidedBy: field.nodeId,
  decidedAtMs: uint(),
} as const

const configurationShape = {
  formatVersion: uint(0xffff),
  clusterId: field.clusterId,
  number: field.configurationNumber,
  partitionCount: uint(MAX_PARTITION_COUNT),
  phase: field.phase,
  zones: list(string(MAX_ZONE_LENGTH), MAX_MEMBERS),
  members: list(struct({ nodeId: field.nodeId, zone: position, weight: uint(MAX_WEIGHT) }), MAX_MEMBERS),
  excluded: list(field.nodeId, MAX_MEMBERS),
  removed: list(field.nodeId, MAX_REMOVED),
  acceptors: list(
    struct({ nodeId: field.nodeId, acceptorId: string(MAX_ACCEPTOR_ID_LENGTH) }),
    MAX_ACCEPTORS,
  ),
  keyspaces: list(
    struct({
      id: field.keyspaceId,
      name: field.keyspaceName,
      strategy: field.strategy,
      replicas: uint(MAX_REPLICAS),
      conflicts: field.conflicts,
      quorum: field.quorumKind,
      r: field.level,
      w: field.level,
      durability: field.durability,
    }),
    MAX_KEYSPACES,
  ),
  nextKeyspaceId: field.keyspaceId,
  /** `members`: positions in the list above, unsigned 16-bit big-endian. */
  layouts: list(
    struct({
      members: bytes(2 * MAX_MEMBERS),
      depth: uint(MAX_REPLICAS),
      rows: bytes(2 * MAX_REPLICAS * MAX_PARTITION_COUNT),
    }),
    2,
  ),
  phaseNumber: field.configurationNumber,
  altered: list(
    struct({ id: field.keyspaceId, strategy: field.strategy, replicas: uint(MAX_REPLICAS) }),
    MAX_KEYSPACES,
  ),
  changeNumber: field.configurationNumber,
  isManual: bool,
  staged: list(
    struct({
      nodeId: field.nodeId,
      kind: word(STAGED_KINDS),
      zone: optional(string(MAX_ZONE_LENGTH)),
      weight: optional(uint(MAX_WEIGHT)),
      replaces: optional(field.nodeId),
    }),
    MAX_MEMBERS,
  ),
  lossAccepted: list(field.nodeId, MAX_MEMBERS),
  ...decisionShape,
  history: list(struct({ number: field.configurationNumber, ...decisionShape }), MAX_HISTORY),
} as const

const codec = struct(configurationShape)
type Packed = ShapeValue<typeof configurationShape>

/** The result is the caller's. */
export function encodeConfiguration(configuration: Configuration): Bytes {
  const { members } = configuration
  const zones = [...new Set(members.map(({ zone }) => zone))].sort()
  const zonePositions = new Map(zones.map((zone, i) => [zone, i]))
  const packed: Packed = {
    ...configuration,
    formatVersion: FORMAT_VERSION,
    zones,
    members: members.map((member) => ({
      ...member,
      zone: present(zonePositions.get(member.zone), 'listed'),
    })),
    layouts: configuration.layouts.map((layout) => packLayout(layout, members)),
  }
  const encoded = pack(codec.encode(packed))
  assert(encoded.length <= MAX_CONFIGURATION_BYTES, 'a configuration fits into a message')
  return encoded
}

/**
 * Strict: only what `encodeConfiguration` gives for a sound configuration. It keeps views of the bytes.
 * @throws MalformedMessage
 */
export function decodeConfiguration(encoded: Bytes): Configuration {
  if (encoded.length > MAX_CONFIGURATION_BYTES)
    throw new MalformedMessage('a configuration that is too large')
  const { formatVersion, zones, ...packed } = codec.decode(unpack(encoded))
  if (formatVersion !== FORMAT_VERSION) {
    throw new MalformedMessage(
      `a configuration of format ${formatVersion}; this version reads ${FORMAT_VERSION}`,
    )
  }
  const members = packed.members.map(({ nodeId, zone, weight }): Member => {
    const name = zones[zone]
    if (name === undefined) throw new MalformedMessage('a member in an unknown zone')
    return { nodeId, zone: name, weight }
  })
  const [first, second] = packed.layouts.map((layout) => unpackLayout(layout, members))
  if (first === undefined) throw new MalformedMessage('a configuration without a layout')
  const configuration: Configuration = {
    ...packed,
    members,
    nextKeyspaceId: packed.nextKeyspaceId as KeyspaceId,
    layouts: second === undefined ? [first] : [first, second],
  }
  const flaw = findFlaw(configuration)
  if (flaw !== null) throw new MalformedMessage(`a configuration that cannot be: ${flaw}`)
  if (compareBytes(encodeConfiguration(configuration), encoded) !== 0) {
    throw new MalformedMessage('a configuration that is written in another way than ours')
  }
  return configuration
}

function packLayout({ members, depth, rows }: Layout, all: readonly Member[]): Packed['layouts'][number] {
  const positions = new Map(all.map(({ nodeId }, i) => [nodeId, i]))
  const packed = new Uint8Array(2 * members.length)
  members.forEach((nodeId, i) => {
    const at = present(positions.get(nodeId), 'who is in a layout is a member')
    packed[2 * i] = at >> 8
    packed[2 * i + 1] = at & 0xff
  })
  return { members: packed, depth, rows }
}

function unpackLayout(layout: Packed['layouts'][number], all: readonly Member[]): Layout {
  const packed = layout.members
  const members: NodeId[] = []
  for (let i = 0; i < packed.length; i += 2) {
    const member = all[((packed[i] as number) << 8) | (packed[i + 1] ?? 0)]
    if (member === undefined) throw new MalformedMessage('a layout with an unknown member')
    members.push(member.nodeId)
  }
  return { members, depth: layout.depth, rows: layout.rows }
}
