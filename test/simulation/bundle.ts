/** A campaign's worker as one file: hot code is twice as fast without the names that tsx keeps. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { build } from 'esbuild'

export interface BundleOptions {
  /** Of the project, or of a copy of it. */
  readonly root: string
  readonly file: string
  /** Without anything that does not run: equal programs give equal bytes. Default false. */
  readonly minify?: boolean
}

export async function bundleWorker({ root, file, minify = false }: BundleOptions): Promise<Buffer> {
  await build({
    entryPoints: [join(root, 'test', 'simulation', 'worker.ts')],
    outfile: file,
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    packages: 'external',
    minify,
    sourcemap: !minify,
    logLevel: 'error',
  })
  return readFileSync(file)
}
