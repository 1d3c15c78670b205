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
        text: 'ring.needed(this.#task.level, owners.length)',
        instead: 'Math.max(1, ring.needed(this.#task.level, owners.length) - 1)',
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
        text: "!this.#with.store.completeness.isComplete(keyspace.id, partition) ? 'catchingUp' : null",
        instead: "!this.#with.store.completeness.isAdmitted ? 'catchingUp' : null",
      },
      {
        file: 'src/coordinator/quorum-read.ts',
        text: 'owners.includes(this.with.selfId) && this.#isComplete',
        instead: 'owners.includes(this.with.selfId)',
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
