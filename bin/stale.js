/** Whether dist/ is older than what it is built from: for the build, and for `npm start` and `npm test`. */
import { existsSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
/** Written when a build is in place. */
export const BUNDLE_STAMP = 'dist/built'
export const TYPES_STAMP = 'dist/types-built'
const SOURCES = ['src', 'bin/build', 'package.json', 'package-lock.json', 'tsconfig.json', 'config']

export function isBundleStale() {
  return isStale(BUNDLE_STAMP) || !existsSync(join(root, 'dist/cli/kvnode.js'))
}

/** Something was changed after the file was written, or there is no such file. */
export function isStale(stamp) {
  const path = join(root, stamp)
  if (!existsSync(path)) return true
  const builtMs = statSync(path).mtimeMs
  return SOURCES.some((source) => newestMs(join(root, source)) > builtMs)
}

function newestMs(path) {
  if (!existsSync(path)) return 0
  const found = statSync(path)
  if (!found.isDirectory()) return found.mtimeMs
  return Math.max(found.mtimeMs, ...readdirSync(path).map((name) => newestMs(join(path, name))))
}
