// Words as a POSIX shell reads them.

const PLAIN = /^[A-Za-z0-9_@%+=:,./-]+$/;

/** One word, quoted where the shell would read it otherwise. */
export function quote(word: string): string {
  return PLAIN.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}
