/**
 * Purging: when the last traces of deleted and expired keys may go, and how, so that none of them returns.
 *
 * Intuition: a tombstone is needed for as long as anything it replaced may still turn up. That may come from
 * few places: an owner's disk; a stand-in record; work under way at a peer (a write, a repair, a delivery);
 * a message on its way. A purge first makes sure that no owner has it, then that the three other places were
 * emptied of all that is older (a *fence*), and only then lets go. It goes in two steps, each behind a fence
 * of its own, because owners cannot act at the same moment:
 *
 * 1. *strip*: the record gives up its values and keeps what it has seen. Such a bare record is above the
 *    tombstone in the order of merging: whoever missed this step is brought to it by any repair.
 * 2. *erase*: the bare record goes. To whoever compares records a bare one and none are the same, so an owner
 *    that erased is not "repaired" by one that has not, and that one has the rest erased later.
 *
 * Each step is taken when no change of the ring is open, every owner is complete, says that its disk holds
 * this very record (before a strip: and held it for `purgeAfter` by its own monotonic clock, and its wall
 * clock is past every expiry by the grace; before an erase: a bare one, or none), after that a fence was
 * completed, and the owner still holds the same digest. Time alone never purges.
 *
 * A fence (`fence-round.ts` asks, `eras.ts` answers), begun after the owners' statements, asks every member,
 * dead ones included; while one is excluded there is none. Three rounds:
 *
 * - *survey*: nobody keeps stand-in records, or records of partitions that it owns no more. Everyone says how
 *   often it has taken any stand-in records in.
 * - *enter*: everyone enters a new era. Work begun from now on, and each write message it sends, bears the
 *   new era's number; it is waited for until all work of older eras has ended.
 * - *close*: everyone refuses write messages of older eras, and of lives before the ones surveyed, from now
 *   on. Everyone must be in the same life as at the survey and must not have taken in any stand-in record.
 *
 * Why nothing old is left: from each member's survey to its close it kept no stand-in record. So work that
 * began in the new era, hence after the survey, learnt what it knows from clients, from owners' disks, or
 * from stand-in records made after a close, which are made by such work alone. By induction all of it comes
 * from owners' disks of after the statements, and these hold what the owners had stated, or newer. Older work
 * has ended, its messages are refused. No clock is compared with another, and no message's delay is bounded.
 * An owner takes a step only while it has closed that fence's era itself, in this life or by having learnt of
 * it: whoever forgot in a crash what it refuses, and was not told, does not take it.
 *
 * What could bring a key back, one by one. A `replicate` delayed for however long, or sent twice, or waiting
 * for a link: its era is closed, and a peer that was restarted learns closed eras in the very handshake that
 * must come before such a message. A forwarded write, or one repeated after a timeout whose writeId nobody
 * knows any more: it mints a dot, so it is a new write, as it was before the purge; it brings no old value
 * back. A stand-in record on a dead peer: no survey is complete without that peer. One made from an old
 * record meanwhile: it is counted, the fence fails. One that is damaged: counted until it is in quarantine on
 * disk, from where nothing is ever sent. Read repair, and tree exchanges, between an owner that has stripped
 * and one that has not: either order merges to the bare record; between erased and bare: taken for equal.
 * Work that read before a step and writes after it: older era, or it read what was stated. An owner paused in
 * the middle: its late step asks for the digest, and what makes the step right stays true. A peer restarted:
 * its work is gone, its disk holds what it stated, synced; its stand-in records are counted again. A peer
 * that lost data or was restored: not complete, so the owners' statements lack one; what it held was put into
 * quarantine before it spoke to anyone, comes back from there only as what others hold, and what has been
 * purged since stays there for an operator. A disk that gives back an older record while its peer runs: the
 * same, for the leaf it is in, once that is found (`store/suspects.ts`). Every reading of the disk finds it,
 * and so does the first quorum read, or exchange, in which owners differ about an old record, and the first
 * put that would take an old value along: its holder compares the partition with the hash tree before the
 * record goes on (`isOld`). A context from before the purge: it covers dots that nobody holds any more; a put
 * with it keeps the new dot, which it cannot cover, because no dot is minted twice, and an actor's own vector
 * entry says "all up to n that I minted for this key", of which what was purged was superseded, or hidden. A
 * put on the same key meanwhile changes the digest, or is merged with the bare record.
 *
 * What may go is what nobody sees. In a `siblings` keyspace that is a record of tombstones and long expired
 * values only. In a `lww` keyspace the newest value decides: when that is a tombstone, or long expired, older
 * values beneath it that it has not seen go with it. How a keyspace shows conflicts never changes.
 *
 * Why none of these comes back: nothing above depends on what the values are. All owners hold the hidden ones
 * too, their dots are in the digest and stay in `seen` until the erase; and whoever still had one elsewhere,
 * without what hides it, would be found by the same fence.
 *
 * Why no write is lost that anybody would see: a write that is not in the record stated is not covered by
 * it, so it stays beside the bare one, whatever its timestamp. One that is in it had lost against the
 * newest one for all readers of all owners, `purgeAfter` long; by which clocks no longer matters. Could it
 * win after all? Only when the newest one goes alone, under a write that supersedes it and not the hidden
 * one, and has a smaller timestamp than that. A timestamp exceeds those that the write's coordinator holds
 * and supersedes, and owners hold both; so this takes a newest one that is over a minute ahead of the
 * coordinator's clock, or a stand-in that holds neither and whose clock is behind by more than
 * `purgeAfter`. There the purge has the later write shown, where the hidden one would have come up again.
 * An expired one shows again on a clock that is put back by more than the grace, purged alone or with
 * others.
 *
 * Changes of the ring (`ring-change.ts`). Another place that could hold what was replaced is the disk of who
 * owned the partition before: it may own it again. Statements, fence and steps are all under one number, of a
 * stable configuration. Under that number nobody takes records of partitions that he does not own, and at the
 * survey nobody had any left; who has been excluded, or was removed, owns nothing again under its name. So
 * when the next change begins, the owners' disks are the only ones with anything of the key, and they hold
 * what was stated, or newer. A new owner has nothing of it before it takes over, and takes over from them
 * alone: the record, the bare one, or none, and which of these does not matter, as above. A step that an
 * owner takes late, when the change has begun, does to one copy what would have come of merging it with the
 * others. Who was left out of a change while it copied (`retarget`) has leftovers when the change ends;
 * within the change nothing is purged. A page that a new owner asked for under an older number is work of the
 * era in which it was asked for: the next fence waits until it is on the disk, or refused. And an old owner
 * gives away no page of a partition that its disk does not give back as it was written.
 *
 * What disks are trusted with: that what a peer erased, synced, does not come back without its peer noticing.
 * Hash trees tell, but they are in memory: after a crash they are made from the disk itself, which then may
 * give back what it likes. A reading is believed for a minute, and work that read an old record before its
 * loss was found goes on.
 *
 * Source: hold and statements follow Riak's and Cassandra's experience that grace periods alone revive keys;
 * eras are Fraser's epoch-based reclamation ("Practical lock-freedom", 2004, section 5.2.3), with messages
 * for threads. Deviation from a rule that asks each member for statements at different times: here stand-in
 * records must be absent everywhere for the few milliseconds of one fence. That needs no marks on stand-in
 * records and on what is read from them, and costs purges only while somebody is away, who would be waited
 * for anyway.
 */
import type { Conflicts } from './configuration.ts'
import type { KeyRecord } from './record.ts'
import { timestampMs } from './timestamp.ts'
import { ruling } from './view.ts'

export interface PurgeRule {
  /** How long every owner must have held the same record. */
  readonly purgeAfterMs: number
  /** How far past a value's expiry every owner's wall clock must be. */
  readonly expiryGraceMs: number
}

export const DEFAULT_PURGE_RULE: PurgeRule = { purgeAfterMs: 3_600_000, expiryGraceMs: 300_000 }

/**
 * It may be purged some day as it is, in one keyspace or another: it has a tombstone, or a value that
 * expires, or none at all. Said of every write, so it does not look at how the values stand to each other.
 */
export function isMortal({ values }: KeyRecord): boolean {
  return (
    values.length === 0 || values.some(({ value, expiresAtMs }) => value === null || expiresAtMs !== null)
  )
}

/**
 * From when on nobody sees anything in it, by the wall clock: all values that decide what is seen are
 * tombstones or long expired. Of a bare record there are none.
 */
export function purgeableAtMs(record: KeyRecord, conflicts: Conflicts, { expiryGraceMs }: PurgeRule): number {
  let latestMs = Number.NEGATIVE_INFINITY
  for (const { value, expiresAtMs } of ruling(record, conflicts)) {
    if (value === null) continue
    if (expiresAtMs === null) return Number.POSITIVE_INFINITY
    latestMs = Math.max(latestMs, expiresAtMs + expiryGraceMs)
  }
  return latestMs
}

export function isPurgeable(
  record: KeyRecord,
  conflicts: Conflicts,
  nowMs: number,
  rule: PurgeRule,
): boolean {
  return purgeableAtMs(record, conflicts, rule) <= nowMs
}

/**
 * One of its values is so old that it may have been deleted and purged since; others may have been merged
 * with it later. Half of what a purge waits is left for clocks that differ.
 */
export function isOld({ values }: KeyRecord, nowMs: number, { purgeAfterMs }: PurgeRule): boolean {
  const sinceMs = nowMs - purgeAfterMs / 2
  return values.some(({ value, timestamp }) => value !== null && timestampMs(timestamp) <= sinceMs)
}

/** What a record tells without its values. */
export function bareRecord({ seen }: KeyRecord): KeyRecord {
  return { seen, values: [] }
}
