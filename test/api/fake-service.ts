/**
 * A KvService of one imaginary peer, in memory. A context is `c` and a number: it covers all writes up to
 * that one.
 */
import { toHex } from '../../src/base/bytes.ts'
import { KvError } from '../../src/base/error.ts'
import type { KeyspaceId } from '../../src/base/ids.ts'
import { parseLayoutChange } from '../../src/wire/layout.ts'
import { checkRepair, completeKeyspaceOptions } from '../../src/wire/request-check.ts'
import {
  DEFAULT_KEYSPACE_OPTIONS,
  type FoundValue,
  type GetRequest,
  type KeyspaceInfo,
  type KvService,
  type PutRequest,
} from '../../src/wire/requests.ts'

export interface FakeService extends KvService {
  readonly puts: PutRequest[]
  readonly gets: GetRequest[]
  /** What was to become of members. */
  readonly changes: string[]
  /** The next put or get rejects with it. */
  failNext(error: unknown): void
  /** Puts and gets wait until the function this gives is called. */
  hold(): () => void
}

interface NumberedValue extends FoundValue {
  readonly n: number
}

/** What it says of its cluster. */
const FIXED: Pick<
  KvService,
  'status' | 'ring' | 'locate' | 'hints' | 'repair' | 'tasks' | 'layout' | 'planLayout'
> = {
  async status() {
    return {
      clusterId: 'cluster',
      nodeId: 'node',
      layout: { version: 3, phase: 'stable', pending: null, change: null },
      peers: [],
      faults: [],
      warnings: [],
    }
  },
  async ring() {
    return {
      partitionCount: 1,
      layoutVersion: 3,
      partitions: [{ partition: 0, owners: ['127.0.0.1:7001'] }],
    }
  },
  async locate(keyspace, key) {
    return { partition: key.length, owners: [`${keyspace}.example:1`], replicas: 3 }
  },
  async hints() {
    return []
  },
  async repair(request) {
    checkRepair(request)
    const { round } = request
    return { round, parts: [{ peer: 'node', peerAddress: '127.0.0.1:7001', exchanges: 2, refusal: null }] }
  },
  async tasks() {
    return { tasks: [], silent: [] }
  },
  async layout() {
    const shape = { number: 7, phase: 'stable', manual: true, partitionCount: 512 } as const
    const decision = { number: 7, reason: 'finish', decidedBy: '127.0.0.1:7001', decidedAtMs: 1000 }
    return { ...shape, members: [], staged: [], history: [decision] }
  },
  async planLayout() {
    return { number: 7, staged: [], peers: [], moves: 3, idealMoves: 2, bytes: 1, silent: [] }
  },
}

export function createFakeService(): FakeService {
  const keys = new Map<string, { seen: number; values: NumberedValue[] }>()
  const keyspaces = new Map<string, KeyspaceInfo>([
    ['default', { ...DEFAULT_KEYSPACE_OPTIONS, id: 1 as KeyspaceId, name: 'default' }],
  ])
  const puts: PutRequest[] = []
  const gets: GetRequest[] = []
  const changes: string[] = []
  let failure: unknown = null
  let held: Promise<void> = Promise.resolve()
  let count = 0
  const enter = async (keyspace: string): Promise<void> => {
    await held
    const error = failure
    failure = null
    if (error !== null) throw error
    if (!keyspaces.has(keyspace)) throw new KvError('NOT_FOUND', `there is no keyspace '${keyspace}'`)
  }
  const nameOf = ({ keyspace, key }: { keyspace: string; key: Uint8Array }): string =>
    `${keyspace}/${toHex(key)}`
  return {
    puts,
    gets,
    changes,
    failNext(error) {
      failure = error
    },
    hold() {
      let release = (): void => {}
      held = new Promise((resolve) => {
        release = resolve
      })
      return release
    },
    async put(request) {
      puts.push(request)
      await enter(request.keyspace)
      const record = keys.get(nameOf(request)) ?? { seen: 0, values: [] }
      const covered = request.context === null ? record.seen : Number(request.context.slice(1))
      if (Number.isNaN(covered)) throw new KvError('INVALID_ARGUMENT', 'this is not a context')
      const n = ++count
      const kept = record.values.filter((value) => value.n > covered)
      const { value, contentType } = request
      const added =
        value === null ? [] : [{ n, value: Buffer.from(value), contentType, timestampMs: 1000 * n }]
      keys.set(nameOf(request), { seen: n, values: [...added, ...kept] })
      return { context: `c${n}`, owners: 2, standIns: 1 }
    },
    async get(request) {
      gets.push(request)
      await enter(request.keyspace)
      const record = keys.get(nameOf(request))
      const context = record === undefined ? null : `c${record.seen}`
      return { values: record?.values ?? [], context, owners: 2, standIns: 0 }
    },
    ...FIXED,
    async keyspaces() {
      return [...keyspaces.values()]
    },
    async createKeyspace(name, options) {
      if (keyspaces.has(name)) throw new KvError('CONFLICT', `keyspace '${name}' exists with other options`)
      const made = { ...completeKeyspaceOptions(options ?? {}), id: (keyspaces.size + 1) as KeyspaceId, name }
      keyspaces.set(name, made)
      return made
    },
    async dropKeyspace(which) {
      const dropped = [...keyspaces.values()].find(({ id, name }) => which === id || which === name)
      if (dropped === undefined) throw new KvError('NOT_FOUND', `there is no keyspace '${which}'`)
      keyspaces.delete(dropped.name)
    },
    ...ringChanges(changes),
  }
}

/** What was asked for is noted, and nothing else becomes of it. */
function ringChanges(
  changes: string[],
): Pick<KvService, 'alterKeyspace' | 'changeLayout' | 'leave' | 'remove'> {
  return {
    async alterKeyspace(which, shape) {
      changes.push(`alter ${which} ${JSON.stringify(shape)}`)
    },
    async changeLayout(given) {
      const change = parseLayoutChange(given)
      changes.push(JSON.stringify(change))
      return FIXED.layout()
    },
    async leave(peer) {
      changes.push(`leave ${peer}`)
      return { staged: true }
    },
    async remove(peer, acceptLoss) {
      changes.push(`remove ${peer}${acceptLoss === true ? ', accept loss' : ''}`)
      return { staged: false }
    },
  }
}
