/**
 * Invariant 4: a peer's hash trees say what its disk holds, whatever writes, crashes and repairs there were;
 * a sound disk is never taken for a bad one; equal roots mean equal records; and once all is well, all owners
 * of a key hold the same bytes.
 */
import { type Bytes, equalBytes } from '../../base/bytes.ts'
import { hash32 } from '../../base/hash.ts'
import type { KeyspaceId, NodeId } from '../../base/ids.ts'
import type { Configuration, Keyspace } from '../../protocol/configuration.ts'
import { type Digest, recordDigest } from '../../protocol/hash-tree.ts'
import { createRing, type Ring } from '../../protocol/ring.ts'
import { KIND, keyspaceOf, partitionOf, partitionRange, userKey } from '../../store/keys.ts'
import { isBare } from '../../store/record-codec.ts'
import type { SimTree } from '../sim-database.ts'
import type { SimPeer } from '../simulation.ts'
import { Violation } from './violation.ts'

/** What a peer has of a partition at one moment. */
interface Holding {
  /** What its hash tree must say. */
  readonly root: Digest
  /** Of its records in their order: unlike the root it has no two that could cancel each other. */
  readonly fingerprint: number
}

interface PlacedHolding extends Holding {
  readonly keyspaceId: KeyspaceId
  readonly partition: number
}

const NO_RECORDS: Digest = 0n
const FIRST_RECORD: Bytes = Uint8Array.of(KIND.record)
/** Odd: no bit of an earlier record is lost (Knuth, "The Art of Computer Programming", volume 3, 6.4). */
const FINGERPRINT_FACTOR = 0x9e37_79b1

export interface Holdings {
  readonly host: string
  readonly partitions: ReadonlyMap<number, Holding>
}

/**
 * Null: nothing to compare, while the peer counts what it has, or while a write is between the two.
 * @throws Violation when the trees are not those of the disk
 */
export function checkTrees({ host, node, state }: SimPeer, disk: SimTree): Holdings | null {
  if (node === null || state !== 'ready' || !node.store.isIdle) return null
  const { lostLeaves, count } = node.store.damage
  if (lostLeaves + count > 0) {
    throw new Violation(4, `${host} believes that its disk, which is sound, lost or damaged records`)
  }
  const { configuration } = node
  const kept = node.store.hashTrees
  if (kept === null || configuration === null) return null
  const names = new Map(configuration.keyspaces.map(({ id, name }) => [id, name]))
  const partitions = readHoldings(disk, (keyspaceId) => names.has(keyspaceId))
  const check = (keyspaceId: KeyspaceId, partition: number, root: Digest): void => {
    if (kept.root(keyspaceId, partition) === root) return
    const where = `${names.get(keyspaceId)}, partition ${partition}, on ${host}`
    throw new Violation(4, `the hash tree of ${where} is not that of its disk`)
  }
  for (const { keyspaceId, partition, root } of partitions.values()) check(keyspaceId, partition, root)
  for (const { keyspaceId, partition } of kept.places()) {
    if (partitions.has(placeOfPartition(keyspaceId, partition)) || !names.has(keyspaceId)) continue
    check(keyspaceId, partition, NO_RECORDS)
  }
  if (!node.hasLeftovers) checkOwned(host, node.nodeId, createRing(configuration), partitions.values())
  return { host, partitions }
}

/** Who says that nothing is left over holds nothing that he does not own: a purge relies on it. */
function checkOwned(host: string, nodeId: NodeId, ring: Ring, holdings: Iterable<PlacedHolding>): void {
  for (const { keyspaceId, partition } of holdings) {
    if (!ring.isLeftOver(nodeId, keyspaceId, partition)) continue
    const name = ring.keyspaceById(keyspaceId)?.name
    const what = `records of ${name}, partition ${partition}, which it does not own`
    throw new Violation(3, `${host} says that nothing is left over there, and holds ${what}`)
  }
}

/** By partition, made from the records of these keyspaces alone. */
function readHoldings(
  disk: SimTree,
  isKnown: (keyspaceId: KeyspaceId) => boolean,
): ReadonlyMap<number, PlacedHolding> {
  const holdings = new Map<number, PlacedHolding & { root: Digest; fingerprint: number }>()
  for (const place = disk.ge(FIRST_RECORD); place.valid; place.next()) {
    const key = place.key as Bytes
    if (key[0] !== KIND.record) break
    if (isBare(place.value as Bytes)) continue // What a purge has left so far counts as nothing.
    const [keyspaceId, partition] = [keyspaceOf(key), partitionOf(key)]
    if (!isKnown(keyspaceId)) continue
    const { digest, fingerprint } = sumsOf(key, place.value as Bytes)
    const name = placeOfPartition(keyspaceId, partition)
    const holding = holdings.get(name)
    if (holding === undefined) holdings.set(name, { keyspaceId, partition, root: digest, fingerprint })
    else {
      holding.root ^= digest
      holding.fingerprint = Math.imul(holding.fingerprint, FINGERPRINT_FACTOR) ^ fingerprint
    }
  }
  return holdings
}

interface RecordSums {
  readonly digest: Digest
  readonly fingerprint: number
}

/** By record, as it lies on a disk: most lie there for many looks, and always under the same key. */
const sums = new WeakMap<Bytes, RecordSums>()

function sumsOf(key: Bytes, record: Bytes): RecordSums {
  const known = sums.get(record)
  if (known !== undefined) return known
  const digest = recordDigest(keyspaceOf(key), userKey(key), record)
  const made = { digest, fingerprint: hash32(record, hash32(key)) }
  sums.set(record, made)
  return made
}

/** Of one moment. Also of peers that are about to find out how they differ: by roots they could not. */
export function checkEqualRoots(all: readonly Holdings[]): void {
  const known = new Map<string, { readonly host: string; readonly fingerprint: number }>()
  for (const { host, partitions } of all) {
    for (const [place, { root, fingerprint }] of partitions) {
      const name = `${place} ${root}`
      const empty = root === 0n ? { host: 'whoever holds nothing', fingerprint: 0 } : undefined
      const twin = known.get(name) ?? empty
      if (twin === undefined) known.set(name, { host, fingerprint })
      else if (twin.fingerprint !== fingerprint) {
        throw new Violation(4, `equal roots hide a difference between ${twin.host} and ${host}`)
      }
    }
  }
}

function placeOfPartition(keyspaceId: KeyspaceId, partition: number): number {
  return keyspaceId * 2 ** 16 + partition
}

/**
 * What owners that are up do not agree about, in words; null: they hold the same. Roots come first: they are
 * cheap to compare, and disks are looked at when nothing is left to reconcile.
 * @param diskOf what lies on a peer's disk
 * @throws Violation when roots are equal and disks are not
 */
export function findUnequal(up: readonly SimPeer[], diskOf: (peer: SimPeer) => SimTree): string | null {
  const configuration = up[0]?.node?.configuration ?? null
  if (configuration === null) return 'there is no configuration'
  const pairs = ownerPairs(up, configuration)
  for (const pair of pairs) {
    const flaw = compareRoots(pair)
    if (flaw !== null) return flaw
  }
  for (const pair of pairs) {
    const { first, other, keyspace, partition } = pair
    if (!first.node?.store.isIdle || !other.node?.store.isIdle) continue
    if (sameRecords(diskOf(first), diskOf(other), keyspace, partition)) continue
    throw new Violation(4, `equal roots hide a difference between ${nameOf(pair)}`)
  }
  return null
}

/** Two owners of a partition. */
interface OwnerPair {
  readonly first: SimPeer
  readonly other: SimPeer
  readonly keyspace: Keyspace
  readonly partition: number
}

function ownerPairs(up: readonly SimPeer[], configuration: Configuration): OwnerPair[] {
  const ring = createRing(configuration)
  return configuration.keyspaces.flatMap((keyspace) =>
    Array.from({ length: ring.partitionCount }, (_, partition) => {
      const owners = ring.allOwners(keyspace, partition)
      const [first, ...others] = up.filter((peer) => peer.node !== null && owners.includes(peer.node.nodeId))
      return first === undefined ? [] : others.map((other) => ({ first, other, keyspace, partition }))
    }).flat(),
  )
}

function compareRoots(pair: OwnerPair): string | null {
  const { first, other, keyspace, partition } = pair
  const root = first.node?.store.hashTrees?.root(keyspace.id, partition)
  const trees = other.node?.store.hashTrees ?? null
  if (root === undefined || trees === null) return `no trees of ${nameOf(pair)}`
  return trees.root(keyspace.id, partition) === root ? null : `${nameOf(pair)}, differ`
}

function nameOf({ first, other, keyspace, partition }: OwnerPair): string {
  return `${first.host} and ${other.host} about ${keyspace.name}, partition ${partition}`
}

function sameRecords(a: SimTree, b: SimTree, { id }: Keyspace, partition: number): boolean {
  const { gte, lt } = partitionRange(KIND.record, id, partition)
  const [x, y, end, otherEnd] = [a.ge(gte), b.ge(gte), a.ge(lt), b.ge(lt)]
  for (; ; x.next(), y.next()) {
    skipBare(x, end)
    skipBare(y, otherEnd)
    const isOver = !x.valid || x.key === end.key
    if (isOver !== (!y.valid || y.key === otherEnd.key)) return false
    if (isOver) return true
    const same = equalBytes(x.key as Bytes, y.key as Bytes) && equalBytes(x.value as Bytes, y.value as Bytes)
    if (!same || keyspaceOf(x.key as Bytes) !== id) return false
  }
}

type Place = ReturnType<SimTree['ge']>

/** What a purge has left so far counts as nothing. */
function skipBare(place: Place, end: Place): void {
  while (place.valid && place.key !== end.key && isBare(place.value as Bytes)) place.next()
}
