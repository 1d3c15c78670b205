/** Long operations of the whole cluster: rounds of repair are begun, and all members asked for their own. */
import { KvError } from '../base/error.ts'
import type { NodeId } from '../base/ids.ts'
import type { Rpc } from '../cluster/rpc.ts'
import type { Ring } from '../protocol/ring.ts'
import type { Refusal } from '../wire/data-messages.ts'
import type { RepairPart, RepairRequest, RepairStart, TaskInfo, TaskList } from '../wire/tasks.ts'
import { leftMs } from './change-progress.ts'
import type { PeerTask, PeerTasks } from './peer-tasks.ts'

export interface ClusterTasksHost {
  readonly selfId: NodeId
  readonly rpc: Rpc
  /** This peer's own. */
  readonly own: PeerTasks
  /** @throws UNAVAILABLE before there is a configuration */
  ring(): Ring
  isAlive(nodeId: NodeId): boolean
  addressOf(nodeId: NodeId): string
}

const LISTED = 'kvctl keyspace list shows those there are'
const ASK_TIMEOUT_MS = 1000

const REFUSALS: Readonly<Record<Refusal, string>> = {
  stale: 'the ring is being changed: it knows a newer one',
  behind: 'the ring is being changed: it does not know the newest one yet',
  overloaded: "too many rounds of repair are under way there: 'kvctl tasks' shows them",
  failed: 'it cannot compare now',
  stopping: 'it is stopping',
  notOwner: 'it has no such keyspace',
  catchingUp: 'it lost data and is catching up by itself',
  overfull: 'it holds more concurrent values of a key than a record can hold',
}

export class ClusterTasks {
  readonly #host: ClusterTasksHost

  constructor(host: ClusterTasksHost) {
    this.#host = host
  }

  /** @throws NOT_FOUND; UNAVAILABLE before there is a configuration */
  async repair({ keyspace: name, round, acceptLoss = false }: RepairRequest): Promise<RepairStart> {
    const ring = this.#host.ring()
    const keyspace = name === null ? null : ring.keyspace(name)
    if (name !== null && keyspace === null) {
      throw new KvError('NOT_FOUND', `there is no keyspace '${name.slice(0, 64)}': ${LISTED}`)
    }
    const wanted = { number: ring.number, round, keyspaceId: keyspace?.id ?? null, acceptLoss }
    const parts = await Promise.all(this.#members.map((nodeId) => this.#begin(nodeId, wanted)))
    return { round, parts: parts.sort((a, b) => (a.peerAddress < b.peerAddress ? -1 : 1)) }
  }

  async tasks(): Promise<TaskList> {
    const members = this.#members
    const lists = await Promise.all(members.map((nodeId) => this.#list(nodeId)))
    const silent = members.filter((_, i) => lists[i] === null).map((nodeId) => this.#host.addressOf(nodeId))
    const tasks = lists.flatMap((list, i) =>
      (list ?? []).map((task) => this.#info(members[i] as NodeId, task)),
    )
    return { tasks, silent }
  }

  get #members(): readonly NodeId[] {
    return this.#host.ring().configuration.members.map(({ nodeId }) => nodeId)
  }

  async #begin(nodeId: NodeId, wanted: Parameters<PeerTasks['begin']>[1]): Promise<RepairPart> {
    const { selfId, own, rpc, isAlive } = this.#host
    const part = (exchanges: number, refusal: string | null): RepairPart => {
      return { peer: nodeId, peerAddress: this.#host.addressOf(nodeId), exchanges, refusal }
    }
    const told = (begun: number | Refusal): RepairPart => {
      return typeof begun === 'number' ? part(begun, null) : part(0, REFUSALS[begun])
    }
    if (nodeId === selfId) return told(own.begin(selfId, wanted))
    if (!isAlive(nodeId)) return part(0, 'it is down: it compares by itself when it is back')
    try {
      const question = (id: number) => ({ type: 'beginRepair', id, ...wanted }) as const
      const reply = await rpc.call(nodeId, 'control', ASK_TIMEOUT_MS, question)
      if (reply.type === 'repairBegun') return told(reply.exchanges)
      return reply.type === 'refused' ? told(reply.reason) : part(0, 'it does not know how to')
    } catch (error) {
      if (!(error instanceof KvError)) throw error
      return part(0, 'it did not answer in time: it may or may not have begun')
    }
  }

  /** Null: it did not answer in time. */
  async #list(nodeId: NodeId): Promise<readonly PeerTask[] | null> {
    const { selfId, own, rpc, isAlive } = this.#host
    if (nodeId === selfId) return own.list()
    if (!isAlive(nodeId)) return null
    try {
      const reply = await rpc.call(nodeId, 'control', ASK_TIMEOUT_MS, (id) => ({ type: 'listTasks', id }))
      return reply.type === 'tasksListed' ? reply.tasks : null
    } catch (error) {
      if (!(error instanceof KvError)) throw error
      return null
    }
  }

  #info(peer: NodeId, task: PeerTask): TaskInfo {
    const { addressOf } = this.#host
    return {
      ...task,
      peer,
      peerAddress: addressOf(peer),
      withAddress: task.with === null ? null : addressOf(task.with),
      leftMs: leftMs(task),
    }
  }
}
