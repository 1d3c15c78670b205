import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { ImportReport } from '../../src/cli/import/import-report.ts'

const test = suite('what import tells of its rows')

/** The lines below the counts, when these rows are bad for these reasons. */
async function told(messages: readonly string[]): Promise<readonly string[]> {
  const report = new ImportReport(null, false)
  for (const [index, message] of messages.entries())
    report.add({ row: index + 2, kind: 'bad', key: null, code: 'INVALID_ARGUMENT', message })
  const write = process.stdout.write
  let printed = ''
  process.stdout.write = ((chunk: string) => {
    printed += chunk
    return true
  }) as typeof write
  try {
    await report.finish({ json: false, interrupted: false, statePath: null })
  } finally {
    process.stdout.write = write
  }
  return printed.trimEnd().split('\n').slice(1)
}

const ADVICE = '  --report FILE lists every one of them'

test('what is wrong with many rows in the same way is said once, with how many they are', async () => {
  const same = Array.from({ length: 1203 }, () => 'no such field')
  assert.equal(await told(same), ['  rows 2, 3, 4 and 1,200 more: no such field', ADVICE])
  assert.equal(await told(['a', 'b', 'a']), ['  rows 2, 4: a', '  row 3: b', ADVICE])
})

test('of many different failures the first are told, and how many are left', async () => {
  const messages = ['a', 'b', 'a', 'c', 'd', 'e', 'f', 'g', 'e']
  assert.equal(await told(messages), [
    '  rows 2, 4: a',
    '  row 3: b',
    '  row 5: c',
    '  row 6: d',
    '  rows 7, 10: e',
    '  … and 2 more',
    ADVICE,
  ])
})

test.run()
