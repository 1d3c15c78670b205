/** What a peer does for others, asked over a link: the same words as the node's own service. */
import type { KeyspaceId } from '../base/ids.ts'
import { type LayoutChange, type LayoutInfo, type LayoutPlanInfo, parseLayoutChange } from '../wire/layout.ts'
import {
  checkGet,
  checkKey,
  checkKeyspaceId,
  checkKeyspaceName,
  checkKeyspaceShape,
  checkPut,
  checkRepair,
  completeKeyspaceOptions,
  keyspaceNamed,
} from '../wire/request-check.ts'
import type {
  ClusterStatus,
  GetReply,
  GetRequest,
  HintCount,
  KeyLocation,
  KeyspaceInfo,
  KeyspaceOptions,
  KeyspaceShape,
  KvService,
  PutReply,
  PutRequest,
  RingChangeKind,
  RingChangeReply,
  RingInfo,
} from '../wire/requests.ts'
import type { RepairRequest, RepairStart, TaskList } from '../wire/tasks.ts'
import { type Answer, type Question, unexpected } from './connection.ts'
import type { Router } from './router.ts'

export class RemoteService implements KvService {
  readonly #router: Router
  readonly #timeoutMs: number

  /** @param timeoutMs of all that does not bring its own */
  constructor(router: Router, timeoutMs: number) {
    this.#router = router
    this.#timeoutMs = timeoutMs
  }

  async put(request: PutRequest): Promise<PutReply> {
    checkPut(request)
    const { keyspace, key, value, context, contentType, timeoutMs } = request
    const textLength = (context?.length ?? 0) + (contentType?.length ?? 0)
    const answer = await this.#router.ask(
      { type: 'put', id: 0, ...request },
      {
        payloadBytes: key.length + (value?.length ?? 0) + textLength,
        route: { keyspace, key },
        isWrite: true,
        // With a context, the worst that comes of twice is a sibling with the same writeId, which is shown
        // once.
        isRepeatable: context !== null,
        timeoutMs,
      },
    )
    return expect(answer, 'putDone')
  }

  async get(request: GetRequest): Promise<GetReply> {
    checkGet(request)
    const { keyspace, key, timeoutMs } = request
    const question = { type: 'get', id: 0, ...request } as const
    const route = { keyspace, key }
    const options = { payloadBytes: key.length, route, isWrite: false, isRepeatable: true, timeoutMs }
    return expect(await this.#router.ask(question, options), 'getDone')
  }

  async status(): Promise<ClusterStatus> {
    return expect(await this.#ask({ type: 'status', id: 0 }), 'statusDone')
  }

  async ring(): Promise<RingInfo> {
    return expect(await this.#ask({ type: 'ring', id: 0 }), 'ringDone')
  }

  async locate(keyspace: string, key: Uint8Array): Promise<KeyLocation> {
    checkKeyspaceName(keyspace)
    checkKey(key)
    return expect(await this.#ask({ type: 'locate', id: 0, keyspace, key }), 'locateDone')
  }

  async keyspaces(): Promise<readonly KeyspaceInfo[]> {
    return expect(await this.#ask({ type: 'keyspaces', id: 0 }), 'keyspacesDone').keyspaces
  }

  async hints(): Promise<readonly HintCount[]> {
    return expect(await this.#ask({ type: 'hints', id: 0 }), 'hintsDone').hints
  }

  async repair(request: RepairRequest): Promise<RepairStart> {
    checkRepair(request)
    return expect(
      await this.#ask({ type: 'repair', id: 0, ...request, acceptLoss: request.acceptLoss ?? false }),
      'repairDone',
    )
  }

  async tasks(): Promise<TaskList> {
    return expect(await this.#ask({ type: 'tasks', id: 0 }), 'tasksDone')
  }

  async createKeyspace(name: string, options: Partial<KeyspaceOptions> = {}): Promise<KeyspaceInfo> {
    checkKeyspaceName(name, 'name')
    const question = { type: 'createKeyspace', id: 0, name, ...completeKeyspaceOptions(options) } as const
    return expect(await this.#ask(question, true), 'createKeyspaceDone').keyspace
  }

  /** What the name stands for is asked once: when the drop is sent again it may be another keyspace. */
  async dropKeyspace(which: string | KeyspaceId): Promise<void> {
    if (typeof which === 'number') checkKeyspaceId(which)
    else checkKeyspaceName(which, 'name')
    const keyspaceId = typeof which === 'number' ? which : keyspaceNamed(await this.keyspaces(), which).id
    expect(await this.#ask({ type: 'dropKeyspace', id: 0, keyspaceId }, true), 'dropKeyspaceDone')
  }

  async alterKeyspace(which: string | KeyspaceId, wanted: Partial<KeyspaceShape>): Promise<void> {
    checkKeyspaceShape(wanted)
    const { strategy = null, replicas = null, quorum = null, r = null, w = null } = wanted
    const keyspaceId = typeof which === 'number' ? which : keyspaceNamed(await this.keyspaces(), which).id
    const shape = { strategy, replicas, quorum, r, w }
    expect(await this.#ask({ type: 'alterKeyspace', id: 0, keyspaceId, ...shape }, true), 'alterKeyspaceDone')
  }

  async leave(peer: string): Promise<RingChangeReply> {
    return this.#changeRing('leave', peer, false)
  }

  async remove(peer: string, acceptLoss = false): Promise<RingChangeReply> {
    return this.#changeRing('remove', peer, acceptLoss)
  }

  async #changeRing(kind: RingChangeKind, peer: string, acceptLoss: boolean): Promise<RingChangeReply> {
    const question = { type: 'changeRing', id: 0, kind, peer, acceptLoss } as const
    return expect(await this.#ask(question, true), 'changeRingDone')
  }

  async layout(): Promise<LayoutInfo> {
    return expect(await this.#ask({ type: 'layout', id: 0 }), 'layoutDone')
  }

  async planLayout(): Promise<LayoutPlanInfo> {
    return expect(await this.#ask({ type: 'planLayout', id: 0 }), 'planLayoutDone')
  }

  /** To apply is not sent again: the second time it would not be the layout that was looked at any more. */
  async changeLayout(given: LayoutChange): Promise<LayoutInfo> {
    const change = parseLayoutChange(given)
    const question = { type: 'changeLayout', id: 0, ...change } as const
    return expect(await this.#ask(question, true, change.action !== 'apply'), 'changeLayoutDone')
  }

  #ask(question: Question, isWrite = false, isRepeatable = true): Promise<Answer> {
    return this.#router.ask(question, { isWrite, isRepeatable, timeoutMs: this.#timeoutMs })
  }
}

/** The answer without the words of the link. */
function expect<T extends Answer['type']>(
  answer: Answer,
  type: T,
): Omit<Extract<Answer, { type: T }>, 'type' | 'id'> {
  if (answer.type !== type) throw unexpected(answer)
  const { type: _type, id: _id, ...result } = answer as Extract<Answer, { type: T }>
  return result
}
