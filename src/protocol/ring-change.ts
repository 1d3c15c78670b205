/**
 * How the ring changes while it serves: who has to take over what from whom, and what must be true before the
 * next step.
 *
 * Intuition. A change has an old layout and a new one. *begin*: writes need their level in both, reads in the
 * old one. New owners copy what the old ones hold. *switch*: reads need both. *finish*: the new one alone. So
 * whatever was acknowledged or shown is on quorums of each layout that a later read may ask; what is from
 * before the change, or reached a quorum of the old owners only and was shown all the same, comes over by
 * comparing: each new owner with each old one, once under *begin* and once more under *switch*.
 *
 * A comparison of a new owner with an old one under number i takes over all that the old one had when it
 * acknowledged i: it works under i then, refuses what is sent under older numbers, and what it took under
 * them is on its disk before it tells its digests (`coordinator/tree-replica.ts`). That a partition is copied
 * in bulk first (`coordinator/partition-copy.ts`) only makes the first comparison short.
 *
 * Invariants.
 * - Two quorums of requests that the clients may order share an owner: under one number by counting; between
 *   numbers through a layout that both use, or through the comparisons (model:
 *   `test/protocol/ring-change-model.ts`).
 * - *switch* and *finish* are proposed when every member that is not excluded has acknowledged the number
 *   before and says that it has compared all that it owns in the new layout with every old owner that is not
 *   excluded, under the present phase. Where the disk of an old owner does not give a partition, the others
 *   do if as many of them are left as below, the new owner counted when it is an old one, too.
 * - Of the N old owners of each partition at least max(N - W + 1, N - R + 1), with majorities for W and R,
 *   are not excluded: one of them has each acknowledged write. Otherwise the change stops, until an operator
 *   accepts the loss. It is looked at before anybody is excluded, too, because an excluded peer cannot be had
 *   back with what it holds. Then only those count that say, under the number before, that they have all of
 *   the partition, and that their disks give it: who catches up may need the very one that is to go.
 * - Who is excluded counts in no quorum under that number or a later one, and takes nothing under them: what
 *   he has of the time before is on others, or its loss is accepted, and nobody looks for more with him.
 * - Nor does *finish* come before as many of the new owners of each partition are left: the old ones drop it
 *   then, and what was acknowledged after a new owner had compared may be on others alone.
 * - Who owns a partition in no layout drops it when every member has acknowledged that, not before; and no
 *   change begins while somebody holds what he does not own. So nobody gains a partition of which he still
 *   has something old.
 *
 * What a crash does. The proposer's: the next member in line goes on from what is decided. A source's: those
 * who take over from it wait, it holds after its restart what it had acknowledged; an operator may exclude
 * it. A target's: what reached its disk is there after its restart, and it compares again; dead for good, it
 * is excluded, and a *retarget* leaves it out: back to *begun*, where all that was done for the layout that
 * goes counts for nothing. From *switch* too: until *finish* every write and every read that showed something
 * has a quorum of the old owners. A disk that is lost: the peer is let in again and catches up
 * (`coordinator/catch-up.ts`) before it is a source, and as a target begins anew.
 *
 * Source: joint consensus (Ongaro and Ousterhout 2014, section 6), for data: in Raft both configurations must
 * agree to everything, here the old one can only go when the new one has its data. Deviation: reads need both
 * layouts from *switch* to *finish*; see `ARCHITECTURE.md`, Decisions.
 */
import { assert } from '../base/assert.ts'
import type { NodeId } from '../base/ids.ts'
import { type Configuration, type Keyspace, targetLayout } from './configuration.ts'
import { isLacking, type Lacks } from './lacks.ts'
import type { Ring } from './ring.ts'

/** A partition that a peer owns under the new layout and that has other owners there than in the old one. */
export interface Duty {
  readonly partition: number
  /** The old owners that it is to be compared with: never the peer itself, nor anyone excluded. */
  readonly sources: readonly NodeId[]
  /** All old owners, whoever they are. */
  readonly ownerCount: number
  /** The peer did not own it before. */
  readonly isGained: boolean
}

/** What is due in each of these keyspaces. */
export interface DutyGroup {
  readonly keyspaces: readonly Keyspace[]
  /** By partition. */
  readonly duties: readonly Duty[]
}

/** None while no change is open. */
export function dutiesOf(ring: Ring, nodeId: NodeId): readonly DutyGroup[] {
  const { configuration, partitionCount } = ring
  if (configuration.phase === 'stable') return []
  return ring.alike().map((keyspaces) => {
    const duties: Duty[] = []
    for (let partition = 0; partition < partitionCount; partition++) {
      const [before, after] = ring.writeOwners(keyspaces[0], partition)
      if (before === undefined || after?.includes(nodeId) !== true) continue
      const sources = before.filter((owner) => owner !== nodeId && !configuration.excluded.includes(owner))
      const isGained = !before.includes(nodeId)
      duties.push({ partition, sources, ownerCount: before.length, isGained })
    }
    return { keyspaces, duties }
  })
}

/** A partition of which too many owners are excluded. */
export interface Shortage {
  readonly keyspace: Keyspace
  readonly partition: number
  readonly owners: readonly NodeId[]
  /** Of these, those that are not excluded and have all of it, as far as that was asked. */
  readonly left: readonly NodeId[]
  /** Those that are not excluded, and say that they lack some of it. */
  readonly lacking: readonly NodeId[]
  /** Those that are not excluded, and do not say. */
  readonly silent: readonly NodeId[]
}

/**
 * Of the first partition of which too few are left of those who own it now, if any: acknowledged writes may
 * be missing in what is left.
 */
export function findShortage(ring: Ring): Shortage | null {
  return shortageIn(ring, 0)
}

/**
 * Of the first partition, if any, of which too few owners would be left to have all that was acknowledged: by
 * number, or because others that would be left do not say now that they have it. Whom nobody waits for any
 * more anyway is no reason: only partitions of those that are to be excluded are looked at so closely.
 * @param excluded already
 * @param said what members that are up say that they lack; who is not in it did not say
 */
export function findLoss(
  next: Ring,
  excluded: readonly NodeId[],
  said: ReadonlyMap<NodeId, Lacks>,
): Shortage | null {
  const shortage = findShortage(next)
  if (shortage !== null) return shortage
  const going = next.configuration.excluded.filter((nodeId) => !excluded.includes(nodeId))
  if (going.length === 0) return null
  for (const keyspaces of next.alike()) {
    for (let partition = 0; partition < next.partitionCount; partition++) {
      const owners = next.writeOwners(keyspaces[0], partition)[0] ?? []
      if (!going.some((nodeId) => owners.includes(nodeId))) continue
      const doubt = doubtIn(next, keyspaces, partition, owners, said)
      if (doubt !== null) return doubt
    }
  }
  return null
}

/** @param keyspaces with these owners of the partition */
function doubtIn(
  { configuration }: Ring,
  keyspaces: readonly Keyspace[],
  partition: number,
  owners: readonly NodeId[],
  said: ReadonlyMap<NodeId, Lacks>,
): Shortage | null {
  const staying = owners.filter((owner) => !configuration.excluded.includes(owner))
  // Most lack nothing at all, and there may be many keyspaces.
  if (staying.every((owner) => said.get(owner)?.size === 0)) return null
  const silent = staying.filter((owner) => !said.has(owner))
  for (const keyspace of keyspaces) {
    const lacking = staying.filter((owner) => {
      const lacks = said.get(owner)
      return lacks !== undefined && isLacking(lacks, keyspace.id, partition)
    })
    const left = staying.filter((owner) => !silent.includes(owner) && !lacking.includes(owner))
    if (left.length < sourcesNeeded(owners.length))
      return { keyspace, partition, owners, left, lacking, silent }
  }
  return null
}

/**
 * The open change has to go on without excluded peers that it would give data to. Before the switch always;
 * after it only when what is acknowledged could be on too few of the new owners that are left.
 */
export function isRetargetDue(ring: Ring): boolean {
  const { configuration } = ring
  const { phase, excluded } = configuration
  if (phase === 'stable') return false
  const { members } = targetLayout(configuration)
  if (!excluded.some((nodeId) => members.includes(nodeId))) return false
  return phase === 'begun' || shortageIn(ring, 1) !== null
}

/** By number, the other owners of now have all that was acknowledged, whatever becomes of this member. */
export function canDoWithout(ring: Ring, nodeId: NodeId): boolean {
  return shortageIn(ring, 0, [...ring.configuration.excluded, nodeId]) === null
}

/** @param layout 0: the owners of now; 1: those that the open change brings, where they are others */
function shortageIn(
  ring: Ring,
  layout: 0 | 1,
  excluded: readonly NodeId[] = ring.configuration.excluded,
): Shortage | null {
  const { partitionCount } = ring
  if (excluded.length === 0) return null
  for (const [keyspace] of ring.alike()) {
    for (let partition = 0; partition < partitionCount; partition++) {
      const owners = ring.writeOwners(keyspace, partition)[layout]
      if (owners === undefined) continue
      const left = owners.filter((owner) => !excluded.includes(owner))
      if (left.length < sourcesNeeded(owners.length)) {
        return { keyspace, partition, owners, left, lacking: [], silent: [] }
      }
    }
  }
  return null
}

/** Partitions, of all keyspaces, of which too few owners are left; and how many of them have none left. */
export function countShortages(ring: Ring): { readonly few: number; readonly none: number } {
  const { configuration, partitionCount } = ring
  const { excluded } = configuration
  const count = { few: 0, none: 0 }
  for (const alike of ring.alike()) {
    for (let partition = 0; partition < partitionCount; partition++) {
      const [owners = []] = ring.writeOwners(alike[0], partition)
      const left = owners.filter((owner) => !excluded.includes(owner)).length
      if (left < sourcesNeeded(owners.length)) count.few += alike.length
      if (left === 0) count.none += alike.length
    }
  }
  return count
}

/** An operator gave up what the excluded members may have taken along: these, not one more. */
export function isLossAccepted({ excluded, lossAccepted }: Configuration): boolean {
  return excluded.length > 0 && excluded.every((nodeId) => lossAccepted.includes(nodeId))
}

/** So many of N owners hold every write that a majority of them acknowledged: N - W + 1. */
export function sourcesNeeded(ownerCount: number): number {
  assert(ownerCount > 0, 'a partition has owners')
  return ownerCount - (Math.floor(ownerCount / 2) + 1) + 1
}

/** Whose acknowledgement each step needs. By nodeId, as members are. */
export function membersWaitedFor({ members, excluded }: Configuration): readonly NodeId[] {
  return members.map(({ nodeId }) => nodeId).filter((nodeId) => !excluded.includes(nodeId))
}
