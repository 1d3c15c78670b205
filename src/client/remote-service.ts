/** What a peer does for others, asked over a link: the same words as the node's own service. */
import { KvError } from '../base/error.ts'
import { MAX_VALUE_BYTES } from '../protocol/record.ts'
import { MAX_CARRIED_KEY_BYTES } from '../wire/fields.ts'
import {
  type ClusterStatus,
  DEFAULT_TIMEOUT_MS,
  type GetReply,
  type GetRequest,
  type HintCount,
  type KeyLocation,
  type KeyspaceInfo,
  type KeyspaceOptions,
  type KvService,
  type PutReply,
  type PutRequest,
  type RingInfo,
} from '../wire/requests.ts'
import { type Answer, type Question, unexpected } from './connection.ts'
import type { Router } from './router.ts'

export class RemoteService implements KvService {
  readonly #router: Router

  constructor(router: Router) {
    this.#router = router
  }

  async put(request: PutRequest): Promise<PutReply> {
    const { keyspace, key, value, timeoutMs } = request
    if ((value?.length ?? 0) > MAX_VALUE_BYTES) {
      throw new KvError('TOO_LARGE', `the value has ${value?.length} bytes; ${MAX_VALUE_BYTES} can be sent`)
    }
    checkKey(key)
    const answer = await this.#router.ask(
      { type: 'put', id: 0, ...request },
      {
        payloadBytes: key.length + (value?.length ?? 0),
        route: { keyspace, key },
        isWrite: true,
        // With a context, the worst that comes of twice is a sibling with the same writeId, which is shown
        // once.
        isRepeatable: request.context !== null,
        timeoutMs,
      },
    )
    return expect(answer, 'putDone')
  }

  async get(request: GetRequest): Promise<GetReply> {
    const { keyspace, key, timeoutMs } = request
    checkKey(key)
    const question = { type: 'get', id: 0, ...request } as const
    const options = { route: { keyspace, key }, isWrite: false, isRepeatable: true, timeoutMs }
    return expect(await this.#router.ask(question, options), 'getDone')
  }

  async status(): Promise<ClusterStatus> {
    return expect(await this.#ask({ type: 'status', id: 0 }), 'statusDone')
  }

  async ring(): Promise<RingInfo> {
    return expect(await this.#ask({ type: 'ring', id: 0 }), 'ringDone')
  }

  async locate(keyspace: string, key: Uint8Array): Promise<KeyLocation> {
    checkKey(key)
    return expect(await this.#ask({ type: 'locate', id: 0, keyspace, key }), 'locateDone')
  }

  async keyspaces(): Promise<readonly KeyspaceInfo[]> {
    return expect(await this.#ask({ type: 'keyspaces', id: 0 }), 'keyspacesDone').keyspaces
  }

  async hints(): Promise<readonly HintCount[]> {
    return expect(await this.#ask({ type: 'hints', id: 0 }), 'hintsDone').hints
  }

  async createKeyspace(name: string, options: KeyspaceOptions): Promise<KeyspaceInfo> {
    const question = { type: 'createKeyspace', id: 0, name, ...options } as const
    return expect(await this.#ask(question, true), 'createKeyspaceDone').keyspace
  }

  async dropKeyspace(name: string): Promise<void> {
    expect(await this.#ask({ type: 'dropKeyspace', id: 0, name }, true), 'dropKeyspaceDone')
  }

  #ask(question: Question, isWrite = false): Promise<Answer> {
    return this.#router.ask(question, { isWrite, isRepeatable: true, timeoutMs: DEFAULT_TIMEOUT_MS })
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

function checkKey(key: Uint8Array): void {
  if (key.length <= MAX_CARRIED_KEY_BYTES) return
  throw new KvError('INVALID_ARGUMENT', `the key has ${key.length} bytes; 1 to 1024 are allowed`)
}
