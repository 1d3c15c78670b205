/** The long operations of this peer: what it says of them, and how a round of repair is begun here. */
import { KvError } from '../base/error.ts'
import type { NodeId } from '../base/ids.ts'
import type { PeerLink } from '../cluster/peer-link.ts'
import type { AntiEntropy } from '../coordinator/anti-entropy.ts'
import type { CatchUp } from '../coordinator/catch-up.ts'
import type { Coordination } from '../coordinator/coordination.ts'
import type { HandoffWalk, HintedHandoff } from '../coordinator/hinted-handoff.ts'
import type { RepairTask } from '../coordinator/repair-task.ts'
import type { Takeover, TakeoverProgress } from '../coordinator/takeover.ts'
import type { RebuildProgress } from '../store/tree-rebuild.ts'
import type { Refusal } from '../wire/data-messages.ts'
import type { PeerReply } from '../wire/peer-messages.ts'
import { MAX_TASKS, type TaskRequest } from '../wire/task-messages.ts'

export type PeerTask = Extract<PeerReply, { type: 'tasksListed' }>['tasks'][number]
type BeginRepair = Pick<
  Extract<TaskRequest, { type: 'beginRepair' }>,
  'number' | 'round' | 'keyspaceId' | 'acceptLoss'
>

const NO_FIGURES = { differing: 0, repaired: 0, failed: 0, bytes: 0, expectedBytes: null } as const
const MAX_FAILURE_LENGTH = 1024

export class PeerTasks {
  readonly #with: Coordination
  readonly #antiEntropy: AntiEntropy
  readonly #handoff: HintedHandoff
  readonly #catchUp: Pick<CatchUp, 'acceptLoss'>
  readonly #takeover: Pick<Takeover, 'progress' | 'acceptLoss'>

  constructor(
    coordination: Coordination,
    antiEntropy: AntiEntropy,
    handoff: HintedHandoff,
    catchUp: Pick<CatchUp, 'acceptLoss'>,
    takeover: Pick<Takeover, 'progress' | 'acceptLoss'>,
  ) {
    this.#with = coordination
    this.#antiEntropy = antiEntropy
    this.#handoff = handoff
    this.#catchUp = catchUp
    this.#takeover = takeover
  }

  serve(from: NodeId, message: TaskRequest, link: PeerLink): void {
    const { id } = message
    if (message.type === 'listTasks') {
      const tasks = this.list()
      link.send({ type: 'tasksListed', id, tasks }, 100 * tasks.length)
      return
    }
    const begun = this.begin(from, message)
    if (typeof begun === 'number') link.send({ type: 'repairBegun', id, exchanges: begun }, 0)
    else link.send({ type: 'refused', id, reason: begun, number: this.#number }, 0)
  }

  /** @returns with how many peers this one compares, or why it does not */
  begin(from: NodeId, { number, round, keyspaceId, acceptLoss }: BeginRepair): number | Refusal {
    const own = this.#number
    if (number < own) return 'stale'
    if (number > own || own === 0) {
      this.#with.sawNumber(from, number)
      return 'behind'
    }
    if (keyspaceId !== null && this.#with.ring().keyspaceById(keyspaceId) === null) return 'notOwner'
    if (acceptLoss) {
      this.#catchUp.acceptLoss(keyspaceId)
      this.#takeover.acceptLoss(keyspaceId)
    }
    try {
      return this.#antiEntropy.begin(round, keyspaceId)
    } catch (error) {
      if (!(error instanceof KvError)) throw error
      return 'overloaded'
    }
  }

  /** At most `MAX_TASKS`; those that have not ended first. */
  list(): PeerTask[] {
    const { clock, store } = this.#with
    const nowMs = clock.monotonic()
    const tasks = this.#antiEntropy.tasks.filter(isShown).map((task) => this.#repair(task, nowMs))
    const { rebuild } = store.inventory
    if (rebuild !== null) tasks.push(this.#rebuild(rebuild, nowMs))
    const { lastWalk } = this.#handoff
    if (lastWalk !== null && isWorthTelling(lastWalk)) tasks.push(handoff(lastWalk, nowMs))
    const { progress } = this.#takeover
    if (progress !== null) tasks.push(takeover(progress, nowMs))
    const isEnded = ({ endedAgoMs }: PeerTask): number => Number(endedAgoMs !== null)
    return tasks.sort((a, b) => isEnded(a) - isEnded(b)).slice(0, MAX_TASKS)
  }

  #repair(task: RepairTask, nowMs: number): PeerTask {
    const { differing, repaired, failed, bytes, compared, partitions } = task.progress
    return {
      kind: 'repair',
      state: task.state,
      round: task.round,
      keyspace: task.only === null ? null : this.#nameOf(task.only),
      with: task.peer,
      unit: 'partitions',
      done: compared,
      total: partitions,
      ...timesOf(task, nowMs),
      failure: clip(task.failure),
      ...{ differing, repaired, failed, bytes, expectedBytes: null },
    }
  }

  #rebuild(rebuild: RebuildProgress, nowMs: number): PeerTask {
    const { endedMs, failure } = rebuild
    const [done, total] = rebuild.total === null ? this.#placeOf(rebuild) : [rebuild.done, rebuild.total]
    const isDone = endedMs !== null && failure === null
    return {
      kind: 'rebuild',
      state: endedMs === null ? 'running' : isDone ? 'done' : 'failed',
      round: null,
      keyspace: null,
      with: null,
      unit: 'partitions',
      done: isDone ? total : Math.min(done, total),
      total: total === 0 ? null : total,
      ...timesOf(rebuild, nowMs),
      failure: clip(failure),
      ...NO_FIGURES,
      differing: rebuild.differingLeaves,
    }
  }

  /** Where all records are read in one go nobody knows how many there are: how far it came in their order. */
  #placeOf({ at }: RebuildProgress): [done: number, total: number] {
    const ring = this.#with.hasRing() ? this.#with.ring() : null
    const ids = ring?.configuration.keyspaces.map(({ id }) => id) ?? []
    const partitionCount = ring?.partitionCount ?? 0
    const before = at === null ? 0 : ids.filter((id) => id < at.keyspaceId).length
    return [before * partitionCount + (at?.partition ?? 0), ids.length * partitionCount]
  }

  #nameOf(keyspaceId: RepairTask['only']): string | null {
    if (keyspaceId === null || !this.#with.hasRing()) return null
    return this.#with.ring().keyspaceById(keyspaceId)?.name ?? null
  }

  /** 0 while there is no configuration here. */
  get #number(): number {
    return this.#with.hasRing() ? this.#with.ring().number : 0
  }
}

/** A comparison that the schedule has not come to yet is no task. */
function isShown({ round, state, failure }: RepairTask): boolean {
  return round !== null || state !== 'waiting' || failure !== null
}

/** Walks that found nobody to deliver to come every few seconds. */
function isWorthTelling({ endedMs, delivered, failure }: HandoffWalk): boolean {
  return endedMs === null || delivered > 0 || failure !== null
}

function handoff(walk: HandoffWalk, nowMs: number): PeerTask {
  const { endedMs, failure, done, total, delivered, bytes } = walk
  return {
    kind: 'handoff',
    state: endedMs === null ? 'running' : failure === null ? 'done' : 'failed',
    round: null,
    keyspace: null,
    with: null,
    unit: 'records',
    done,
    total: Math.max(done, total),
    ...timesOf(walk, nowMs),
    failure: clip(failure),
    ...{ ...NO_FIGURES, repaired: delivered, bytes },
  }
}

/** Copying is most of it: what was copied counts for what the partition will still be compared for. */
function takeover(progress: TakeoverProgress, nowMs: number): PeerTask {
  const { startedMs, endedMs, copied, done, total, failure } = progress
  return {
    kind: 'takeover',
    state: endedMs === null ? 'running' : 'done',
    round: null,
    keyspace: null,
    with: null,
    unit: 'partitions',
    done: endedMs === null ? Math.min(total - 1, Math.max(done, copied.done)) : total,
    total,
    ...timesOf({ startedMs: copied.startedMs ?? startedMs, endedMs }, nowMs),
    failure: clip(endedMs === null ? failure : null),
    ...NO_FIGURES,
    ...{ repaired: copied.records, bytes: copied.bytes, expectedBytes: copied.expectedBytes },
  }
}

function timesOf(
  { startedMs, endedMs }: Pick<RepairTask, 'startedMs' | 'endedMs'>,
  nowMs: number,
): Pick<PeerTask, 'ageMs' | 'endedAgoMs'> {
  const ageMs = Math.round((endedMs ?? nowMs) - startedMs)
  return { ageMs, endedAgoMs: endedMs === null ? null : Math.round(nowMs - endedMs) }
}

function clip(text: string | null): string | null {
  return text === null ? null : text.slice(0, MAX_FAILURE_LENGTH)
}
