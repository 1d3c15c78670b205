import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { KvError } from '../../src/base/error.ts'
import { del } from '../../src/cli/kvctl/data-actions.ts'
import type { KvClient } from '../../src/cli/kvctl/session.ts'
import type { PutReply, PutRequest } from '../../src/wire/requests.ts'

const test = suite('kvctl del')

/** What the peers are asked; nothing is printed where there is no terminal. */
async function asked(keys: readonly string[], context: string | undefined): Promise<readonly PutRequest[]> {
  const requests: PutRequest[] = []
  const put = async (request: PutRequest): Promise<PutReply> => {
    requests.push(request)
    return { context: 'c', owners: 2, standIns: 0 }
  }
  const client = { service: { put }, newId: () => 'write' } as unknown as KvClient
  const words = { keyspace: 'default', keys, keyIsHex: false, context, blind: false, w: undefined }
  const { isTTY } = process.stdout
  process.stdout.isTTY = false
  try {
    await del(words, { json: false, timeoutMs: 1000 }, (action) => action(client))
  } finally {
    process.stdout.isTTY = isTTY
  }
  return requests
}

test('with a context it deletes what that one saw, without one what a quorum holds', async () => {
  const [seen] = await asked(['k'], 'seen')
  assert.is(seen?.context, 'seen')
  assert.is(seen?.value, null)
  const all = await asked(['k', 'l'], undefined)
  assert.equal(
    all.map(({ context }) => context),
    [null, null],
  )
})

test('a context is that of one key: with more nothing is deleted', async () => {
  try {
    await asked(['k', 'l'], 'seen')
    assert.unreachable()
  } catch (error) {
    assert.instance(error, KvError)
    assert.match((error as KvError).message, '--context is that of one key, and 2 are given')
  }
})

test.run()
