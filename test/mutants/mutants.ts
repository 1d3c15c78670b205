/**
 * Bugs that the simulator must find: exact pieces of the source and what a careless hand would have written
 * instead.
 */

export interface Edit {
  /** Under the project's root. */
  readonly file: string
  /** Occurs exactly once. */
  readonly text: string
  readonly instead: string
}

export interface Mutant {
  readonly name: string
  /** It is hunted in the campaign of changes of the ring. */
  readonly hasRing?: true
  readonly edits: readonly Edit[]
}

export const MUTANTS: readonly Mutant[] = [
  {
    name: 'acknowledge before fsync',
    edits: [
      {
        file: 'src/store/group-commit.ts',
        text: '    batch.startedMs = this.#clock.monotonic()\n',
        instead: '    batch.startedMs = this.#clock.monotonic()\n    this.#tell(batch, null)\n',
      },
      {
        file: 'src/store/group-commit.ts',
        text: ' // Before the callers hear: the disk works while they do.\n    this.#tell(batch, null)\n',
        instead: '\n',
      },
    ],
  },
  {
    name: 'W counted one too low',
    edits: [
      {
        file: 'src/coordinator/replication.ts',
        text: 'ring.needed(level, lists)',
        instead: 'ring.needed(level, lists).map((needed) => Math.max(1, needed - 1))',
      },
    ],
  },
  {
    name: 'a context ignored on put',
    edits: [
      {
        file: 'src/coordinator/write.ts',
        text: 'this.#mintOver(decodeContext(context, this.#seed))',
        instead: 'this.#mintOver((decodeContext(context, this.#seed), EMPTY_DOTS))',
      },
    ],
  },
  {
    // Whoever was sent the record counts as one who has it.
    name: 'stand-in record dropped after delivery failed',
    edits: [
      {
        file: 'src/coordinator/hinted-handoff.ts',
        text: "new Set(reachable.filter((_, i) => fates[i] === 'stored'))",
        instead: 'new Set(reachable)',
      },
    ],
  },
  {
    // Of what a commit changes the counts were remembered and the trees were not.
    name: 'tree not updated with the record',
    edits: [
      {
        file: 'src/store/inventory.ts',
        text: '    this.#note(keyHash, key, before, value)\n',
        instead: '    this.#trees.counts.wrote(key, before, value)\n',
      },
    ],
  },
  {
    // What a write takes out of the tree is what lies on the disk, though another one is on its way there.
    name: 'tree updated over what is on disk, not over what is pending',
    edits: [
      {
        file: 'src/store/record-writer.ts',
        text: '    const write = { key: databaseKey, value, batch: 0, keyHash, record, before }\n',
        instead:
          '    const onDisk = this.#host.disk.read(keyHash, databaseKey)\n' +
          '    const write = { key: databaseKey, value, batch: 0, keyHash, record, before: onDisk }\n',
      },
    ],
  },
  {
    // An actor is 64 random bits already: why hash it with its counter, let alone with the key?
    name: 'key and vector hashed apart',
    edits: [
      {
        file: 'src/protocol/hash-tree.ts',
        text: '  return hash64(record, keyDigest(keyspaceId, key))\n',
        instead: '  return keyDigest(keyspaceId, key) ^ vectorDigest(key, record)\n',
      },
      {
        file: 'src/protocol/hash-tree.ts',
        text:
          '  const seed = keyDigest(keyspaceId, key)\n' +
          '  return hash64(before, seed) ^ hash64(after, seed)\n',
        instead: '  return recordDigest(keyspaceId, key, before) ^ recordDigest(keyspaceId, key, after)\n',
      },
      {
        file: 'src/protocol/hash-tree.ts',
        text: 'function keyDigest(',
        instead:
          'function vectorDigest(key: Bytes, record: Bytes): Digest {\n' +
          '  const { vector, loose } = decodeRecord(key, record).seen\n' +
          '  const dots = [...vector].concat(loose.map(({ actor, n }) => [actor, n]))\n' +
          '  return dots.reduce((sum, [actor, n]) => sum ^ BigInt("0x" + actor) ^ BigInt(n), 0n)\n' +
          '}\n\nfunction keyDigest(',
      },
      {
        file: 'src/protocol/hash-tree.ts',
        text: "import { hash64 } from '../base/hash.ts'\n",
        instead:
          "import { hash64 } from '../base/hash.ts'\n" +
          "import { decodeRecord } from '../store/record-codec.ts'\n",
      },
    ],
  },
  {
    // Of the two files that a clean stop leaves, a start takes the wrong one away.
    name: 'actor kept after an unclean stop',
    edits: [
      {
        file: 'src/store/life.ts',
        text: 'await storage.removeFile(CLEAN_STOP_FILE)',
        instead: 'await storage.removeFile(TREES_FILE)',
      },
    ],
  },
  {
    // What the other one has was asked for, and only compared with: both are sent what lies here.
    name: 'repair that sends the older side',
    edits: [
      {
        file: 'src/coordinator/tree-exchange.ts',
        text: 'theirs !== null && !(await this.#mergeHere(keyspace, partition, key, theirs))',
        instead: 'theirs === undefined',
      },
    ],
  },
  {
    // The second loop asks less than the first one.
    name: 'merge that keeps a covered value',
    edits: [
      {
        file: 'src/protocol/dvv.ts',
        text: 'if (!known && !covers(a.seen, value.dot)) values.push(value)',
        instead: 'if (!known) values.push(value)',
      },
    ],
  },
  {
    // A peer that was let in answers: nobody asks for each partition whether it is complete.
    name: 'a catching-up peer\'s "not found" counted',
    edits: [
      {
        file: 'src/coordinator/replica.ts',
        text: "mayTell(this.#with, from, keyspace, partition, message.isLost === true) ? null : 'catchingUp'",
        instead: "this.#with.store.completeness.isAdmitted ? null : 'catchingUp'",
      },
      {
        file: 'src/coordinator/quorum-read.ts',
        text: 'all.includes(selfId) && this.#isComplete',
        instead: 'all.includes(selfId)',
      },
    ],
  },
  {
    // The word of one owner is enough, the one that leads.
    name: 'tombstone purged early',
    edits: [
      {
        file: 'src/coordinator/purger.ts',
        text: 'held.every((digest) => digest',
        instead: 'held.some((digest) => digest',
      },
    ],
  },
  {
    name: 'stand-in records ignored by a purge',
    edits: [
      {
        file: 'src/protocol/fence-round.ts',
        text: '    if (kept > 0) {',
        instead: '    if (kept < 0) {',
      },
      {
        file: 'src/protocol/fence-round.ts',
        text: 'if (after.kept > 0 || after.taken !== before.taken)',
        instead: 'if (after.kept < 0)',
      },
    ],
  },
  {
    // Who is down holds up no purge: it is not asked, and what is kept for it is not waited for.
    name: 'a purge that leaves out who is down',
    edits: [
      {
        file: 'src/coordinator/fence-keeper.ts',
        text: '    const away = this.#members().find((nodeId) => !this.#with.isAlive(nodeId))\n',
        instead: '    const away = undefined\n',
      },
      {
        file: 'src/coordinator/fence-keeper.ts',
        text: '    const members = this.#members()\n',
        instead: '    const members = this.#members().filter((nodeId) => this.#with.isAlive(nodeId))\n',
      },
      {
        file: 'src/coordinator/fence-member.ts',
        text: '    const kept = Math.max(before.kept, tallyOf(store).kept)\n',
        instead:
          '    const counts = [...store.standIns.counts()]\n' +
          '    const ofAlive = counts.filter(([nodeId]) => this.#with.isAlive(nodeId))\n' +
          '    const kept = ofAlive.reduce((sum, [, { records }]) => sum + records, 0)\n',
      },
    ],
  },
  {
    // What nobody will see any more need not be kept.
    name: 'expiry pruned inside the record',
    edits: [
      {
        file: 'src/store/minting.ts',
        text: '  const whole = putValue(held, context,',
        instead:
          '  const living = held?.values.filter(({ expiresAtMs: at }) => at === null || at > nowMs) ?? []\n' +
          '  const pruned = held === null ? null : { seen: held.seen, values: living }\n' +
          '  const whole = putValue(pruned, context,',
      },
      {
        file: 'src/coordinator/read.ts',
        text: '    const merged = answers.flatMap(({ record }) => record ?? []).reduce(mergeRecords)\n',
        instead:
          '    const whole = answers.flatMap(({ record }) => record ?? []).reduce(mergeRecords)\n' +
          '    const nowMs = this.#with.clock.now()\n' +
          '    const values = whole.values.filter(({ expiresAtMs: at }) => at === null || at > nowMs)\n' +
          '    const merged = { seen: whole.seen, values }\n',
      },
    ],
  },
  {
    name: 'a quorum from one table only',
    hasRing: true,
    edits: [
      {
        file: 'src/coordinator/replication.ts',
        text: 'ring.needed(level, lists)',
        instead: 'ring.needed(level, lists).map((needed, i) => (i === 0 ? needed : 0))',
      },
      {
        file: 'src/coordinator/quorum-read.ts',
        text: 'ring.needed(this.#level, this.#lists)',
        instead: 'ring.needed(this.#level, this.#lists).map((n, i, all) => (i + 1 < all.length ? 0 : n))',
      },
    ],
  },
  {
    // It says that it has the number as soon as it has heard of it, and nothing was ended yet.
    name: 'ack sent before older requests ended',
    edits: [
      {
        file: 'src/cluster/configuration-driver.ts',
        text: '      await this.#spread.take(decided)\n',
        instead: '      this.#spread.take(decided).catch(() => undefined)\n',
      },
      {
        file: 'src/cluster/configuration-driver.ts',
        text: "    return { type: 'adopted', ...this.#spread.acknowledge() }\n",
        instead:
          "    const told = { type: 'adopted', ...this.#spread.acknowledge() } as const\n" +
          '    return { ...told, number: Math.max(told.number, question.number) }\n',
      },
    ],
  },
  {
    // What an old owner has when it is asked, whatever it may yet take under an older number.
    name: 'snapshot taken before the ack',
    hasRing: true,
    edits: [
      {
        file: 'src/coordinator/tree-replica.ts',
        text: '    if (number > own || own === 0) {\n',
        instead:
          '    if (number > own && own > 0) this.#with.sawNumber(from, number)\n    if (own === 0) {\n',
      },
      {
        file: 'src/coordinator/partition-source.ts',
        text: '    if (number > own || own === 0) {\n',
        instead:
          '    if (number > own && own > 0) this.#with.sawNumber(from, number)\n    if (own === 0) {\n',
      },
      {
        file: 'src/protocol/ring-change.ts',
        text: "  if (configuration.phase === 'stable') return []\n  return ring.alike()",
        instead: "  if (configuration.phase !== 'begun') return []\n  return ring.alike()",
      },
    ],
  },
  {
    // Who will own a partition no more forgets it when the change has begun, not when it has ended.
    name: 'old owner drops too early',
    hasRing: true,
    edits: [
      {
        file: 'src/node/parts.ts',
        text: '=> now.isLeftOver(identity.nodeId, keyspaceId, partition),\n',
        instead:
          '=> {\n' +
          '      const keyspace = now.keyspaceById(keyspaceId)\n' +
          '      const owners = keyspace === null ? [] : now.writeOwners(keyspace, partition).slice(-1)\n' +
          '      return keyspace !== null && !owners.some((list) => list.includes(identity.nodeId))\n' +
          '    },\n',
      },
    ],
  },
  {
    name: 'a stale number accepted',
    edits: [
      {
        file: 'src/coordinator/replica.ts',
        text: "    if (theirs < ours) return 'stale'\n",
        instead: '    if (theirs < ours) return null\n',
      },
    ],
  },
  {
    // Its name as an acceptor is that of its node, and outlives its votes.
    name: 'an acceptor that votes again after its disk was wiped',
    edits: [
      {
        file: 'src/cluster/configuration-driver.ts',
        text: 'new Acceptor(effects)',
        instead: 'new Acceptor(effects, nodeId)',
      },
      {
        file: 'src/cluster/votes.ts',
        text: "  constructor(effects: Pick<Effects, 'storage' | 'random' | 'log'>) {\n",
        instead:
          '  readonly #name: string\n\n' +
          "  constructor(effects: Pick<Effects, 'storage' | 'random' | 'log'>, name: string) {\n" +
          '    this.#name = name\n',
      },
      {
        file: 'src/cluster/votes.ts',
        text: 'this.#effects.random.id()',
        instead: 'this.#name',
      },
    ],
  },
  {
    // A value that is to expire is as good as gone.
    name: 'living values purged as if expired',
    edits: [
      {
        file: 'src/protocol/purge.ts',
        text: '    latestMs = Math.max(latestMs, expiresAtMs + expiryGraceMs)\n',
        instead: '    latestMs = Math.max(latestMs, expiresAtMs === null ? 0 : expiryGraceMs)\n',
      },
    ],
  },
  {
    // A deleted key shows nothing.
    name: 'a delete that hides newer values',
    edits: [
      {
        file: 'src/protocol/view.ts',
        text: '  const newestFirst = ruling(record, conflicts)',
        instead:
          "  if (conflicts === 'lww' && record.values.some(({ value }) => value === null)) return []\n" +
          '  const newestFirst = ruling(record, conflicts)',
      },
    ],
  },
]
