import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { AssertionError, assert as claim, present, unreachable } from '../../src/base/assert.ts'
import { ERROR_CODES, isErrorCode, KvError, toKvError } from '../../src/base/error.ts'

const test = suite('errors')

test('only what was certainly not done is retryable', () => {
  const retryable = Object.entries(ERROR_CODES).filter(([, { retryable: again }]) => again)
  assert.equal(
    retryable.map(([code]) => code),
    ['OVERLOADED', 'UNAVAILABLE'],
  )
  assert.ok(new KvError('UNAVAILABLE', 'x').retryable)
  assert.not(new KvError('TIMEOUT_UNKNOWN', 'x').retryable)
})

test('a code is known by its own name, not by what every object has', () => {
  assert.ok(isErrorCode('CONFLICT'))
  for (const wrong of ['conflict', 'toString', '__proto__', 5, null]) assert.not(isErrorCode(wrong))
})

test('whatever was thrown becomes a KvError with its cause', () => {
  const error = new KvError('NOT_FOUND', 'x')
  assert.is(toKvError(error), error)
  const bug = new TypeError('a bug')
  assert.is(toKvError(bug).code, 'INTERNAL')
  assert.is(toKvError(bug).cause, bug)
  assert.is(toKvError('text').message, 'text')
})

test('a claim that does not hold ends the call, with the claim in words', () => {
  assert.not.throws(() => claim(true, 'holds'))
  assert.throws(
    () => claim(false, 'peers are distinct'),
    (error: unknown) => error instanceof AssertionError && error.message.includes('peers are distinct'),
  )
})

test('what is there is given back, zero and empty too', () => {
  for (const value of [0, '', false]) assert.is(present(value, 'is there'), value)
  for (const nothing of [null, undefined]) {
    assert.throws(
      () => present(nothing, 'is there'),
      (error: unknown) => error instanceof AssertionError,
    )
  }
})

test('a case that cannot be says which', () => {
  assert.throws(() => unreachable({ type: 'surprise' } as never), /surprise/)
})

test.run()
