import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { KvError } from '../../src/base/error.ts'
import {
  makeAddress,
  parseActorId,
  parseAddress,
  parseClusterId,
  parseNodeId,
  parseStoreId,
  splitAddress,
} from '../../src/base/ids.ts'

const test = suite('ids')

const isInvalid = (error: unknown): boolean => error instanceof KvError && error.code === 'INVALID_ARGUMENT'

test('a name is 1 to 64 characters of a small alphabet', () => {
  for (const parse of [parseNodeId, parseClusterId, parseStoreId]) {
    for (const good of ['a', 'A-z_9', 'x'.repeat(64)]) assert.is(parse(good), good)
    for (const bad of ['', 'x'.repeat(65), 'a b', 'a/b', 'ä', 5, null, ['a']]) {
      assert.throws(() => parse(bad), isInvalid, String(bad))
    }
  }
})

test('an actor is 16 lower-case hex digits', () => {
  assert.is(parseActorId('0123456789abcdef'), '0123456789abcdef')
  for (const bad of ['0123456789ABCDEF', '0123456789abcde', '0123456789abcdef0', 'g'.repeat(16), 5]) {
    assert.throws(() => parseActorId(bad), isInvalid, String(bad))
  }
})

test('an address is a host and a port', () => {
  for (const good of [
    '127.0.0.1:7001',
    'db-1.example.org:0',
    'localhost:65535',
    '[::1]:7001',
    '[fe80::1%eth0]:1',
  ]) {
    assert.is(parseAddress(good), good)
  }
  for (const bad of [
    'localhost',
    ':7001',
    'host:',
    'host:65536',
    'host:7001:1',
    '::1:7001',
    'a b:1',
    'host:-1',
    7001,
  ]) {
    assert.throws(() => parseAddress(bad), isInvalid, String(bad))
  }
})

test('a wrong address is told with what it should look like', () => {
  assert.throws(() => parseAddress('localhost'), /'localhost' is not an address; write host:port/)
})

test('an address comes apart and together again, brackets around IPv6 hosts', () => {
  assert.equal(splitAddress(parseAddress('[::1]:7001')), { host: '::1', port: 7001 })
  assert.equal(splitAddress(parseAddress('h:1')), { host: 'h', port: 1 })
  assert.is(makeAddress('::1', 7001), '[::1]:7001')
  assert.is(makeAddress('[::1]', 7001), '[::1]:7001')
  assert.is(makeAddress('h', 1), 'h:1')
  assert.throws(() => makeAddress('a b', 1), isInvalid)
})

test.run()
