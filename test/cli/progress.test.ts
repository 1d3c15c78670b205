import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { progressLine } from '../../src/cli/import/progress.ts'

const test = suite('progress of an import')
const figures = { bytes: 5 * 1024 * 1024, imported: 1234, bad: 2, unacknowledged: 3 }

test('a line says how many rows went in, how many did not, and how much of the file was read', () => {
  assert.is(progressLine(10 * 1024 * 1024, figures), '1,234 imported, 5 failed; 50% of 10.0 MiB read')
})

test('of an input of unknown length it leaves out how much was read', () => {
  assert.is(progressLine(null, figures), '1,234 imported, 5 failed')
})

test('a file that grew while it was read is not read beyond its end', () => {
  assert.match(progressLine(1024, figures), '100% of 1.0 KiB')
  assert.match(progressLine(0, figures), '100% of 0 B')
})

test.run()
