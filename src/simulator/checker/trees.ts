/**
 * Invariant 4: a peer's hash trees say what its disk holds, whatever writes, crashes and repairs there were;
 * a sound disk is never taken for a bad one; equal roots mean equal records; and once all is well, all owners
 * of a key hold the same bytes.
 */
import { type Bytes, equalBytes } from '../../base/bytes.ts'
import { hash32 } from '../../base/hash.ts'
import type { Keyspace } from '../../protocol/configuration.ts'
import { createRing } from '../../protocol/ring.ts'
import { HashTrees } from '../../store/hash-trees.ts'
import { KIND, keyspaceOf, partitionRange, userKey } from '../../store/keys.ts'
import type { SimTree } from '../sim-database.ts'
import type { SimPeer } from '../simulation.ts'
import { Violation } from './violation.ts'

/** Nothing to compare while the peer counts what it has, or while a write is between the two. */
export function checkTrees({ host, node, state }: SimPeer, disk: SimTree): void {
  if (node === null || state !== 'ready' || !node.store.isIdle) return
  const { lostLeaves, count } = node.store.damage
  if (lostLeaves + count > 0) {
    throw new Violation(4, `${host} believes that its disk, which is sound, lost or damaged records`)
  }
  const { configuration } = node
  const kept = node.store.hashTrees
  if (kept === null || configuration === null) return
  const rebuilt = new HashTrees()
  for (const place = disk.begin; place.valid; place.next()) {
    const key = place.key as Bytes
    if (key[0] === KIND.record) rebuilt.wrote(hash32(userKey(key)), key, null, place.value as Bytes)
  }
  for (const { id, name } of configuration.keyspaces) {
    for (let partition = 0; partition < configuration.partitionCount; partition++) {
      if (kept.root(id, partition) === rebuilt.root(id, partition)) continue
      throw new Violation(
        4,
        `the hash tree of ${name}, partition ${partition}, on ${host} is not that of its disk`,
      )
    }
  }
}

/**
 * What owners that are up do not agree about, in words; null: they hold the same.
 * @param diskOf what lies on a peer's disk
 */
export function findUnequal(up: readonly SimPeer[], diskOf: (peer: SimPeer) => SimTree): string | null {
  const configuration = up[0]?.node?.configuration ?? null
  if (configuration === null) return 'there is no configuration'
  const ring = createRing(configuration)
  for (const keyspace of configuration.keyspaces) {
    for (let partition = 0; partition < ring.partitionCount; partition++) {
      const owners = ring.allOwners(keyspace, partition)
      const peers = up.filter((peer) => peer.node !== null && owners.includes(peer.node.nodeId))
      const flaw = compareOwners(peers, keyspace, partition, diskOf)
      if (flaw !== null) return flaw
    }
  }
  return null
}

/** @throws Violation when roots are equal and disks are not */
function compareOwners(
  owners: readonly SimPeer[],
  keyspace: Keyspace,
  partition: number,
  diskOf: (peer: SimPeer) => SimTree,
): string | null {
  const [first, ...others] = owners
  const root = first?.node?.store.hashTrees?.root(keyspace.id, partition)
  for (const other of others) {
    const trees = other.node?.store.hashTrees ?? null
    const where = `${first?.host} and ${other.host} about ${keyspace.name}, partition ${partition}`
    if (root === undefined || trees === null) return `no trees of ${where}`
    if (trees.root(keyspace.id, partition) !== root) return `${where}, differ`
    if (first === undefined || !first.node?.store.isIdle || !other.node?.store.isIdle) continue
    if (!sameRecords(diskOf(first), diskOf(other), keyspace, partition)) {
      throw new Violation(4, `equal roots hide a difference between ${where}`)
    }
  }
  return null
}

function sameRecords(a: SimTree, b: SimTree, { id }: Keyspace, partition: number): boolean {
  const { gte, lt } = partitionRange(KIND.record, id, partition)
  const [x, y, end, otherEnd] = [a.ge(gte), b.ge(gte), a.ge(lt), b.ge(lt)]
  for (; ; x.next(), y.next()) {
    const isOver = !x.valid || x.key === end.key
    if (isOver !== (!y.valid || y.key === otherEnd.key)) return false
    if (isOver) return true
    const same = equalBytes(x.key as Bytes, y.key as Bytes) && equalBytes(x.value as Bytes, y.value as Bytes)
    if (!same || keyspaceOf(x.key as Bytes) !== id) return false
  }
}
