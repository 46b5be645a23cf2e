// What stands around every page: navigation, who is signed in, announcements, help.

import { Link, Outlet, useNavigate, useRouterState } from "@tanstack/react-router";
import { useEffect, useRef, useState } from "react";
import { apiUrl } from "@/api/base";
import { useAccount } from "@/api/me";
import { Announcements, announce } from "@/ui/announce";
import { AsOf } from "@/ui/as_of";
import { Help } from "@/ui/help";
import { copyLink, useKeys } from "@/ui/keys";
import { ErrorNotice } from "@/ui/states";
import { ThemeSwitch } from "@/ui/theme";

export function Root() {
  const navigate = useNavigate();
  const [helpShown, setHelpShown] = useState(false);
  useFocusOfPages();
  useKeys([
    { keys: "?", does: "Show the keys", run: () => setHelpShown(true) },
    { keys: "g r", does: "Go to the runs", run: () => void navigate({ to: "/runs" }) },
    { keys: "g s", does: "Go to submitting", run: () => void navigate({ to: "/submit" }) },
    { keys: "y", does: "Copy the link to what is shown", run: () => void sayWhetherCopied() },
  ]);
  return (
    <>
      <button type="button" className="skip" onClick={() => document.getElementById("main")?.focus()}>
        Skip to the content
      </button>
      <header className="top">
        <Link to="/runs" className="brand">
          lmms-eval
        </Link>
        <nav aria-label="Pages">
          <Link to="/runs">Runs</Link>
          <Link to="/submit">Submit</Link>
        </nav>
        <div className="tools">
          <AsOf />
          <button type="button" className="icon" aria-label="Keys" title="Keys (?)" onClick={() => setHelpShown(true)}>
            ?
          </button>
          <ThemeSwitch />
          <Account />
        </div>
      </header>
      <main id="main" tabIndex={-1}>
        <Outlet />
      </main>
      <Announcements />
      {helpShown && <Help onClose={() => setHelpShown(false)} />}
    </>
  );
}

/** Where another page is shown, the focus goes to it: the link that led there is gone. */
function useFocusOfPages(): void {
  const page = useRouterState({ select: ({ matches }) => matches[1]?.routeId });
  const before = useRef(page);
  useEffect(() => {
    if (before.current !== undefined && before.current !== page) document.getElementById("main")?.focus();
    before.current = page;
  }, [page]);
}

async function sayWhetherCopied(): Promise<void> {
  announce((await copyLink()) ? "The link is copied." : "The browser did not allow to copy; the address bar has it.");
}

/** Who is signed in. Signing out is a form: it works without script. */
function Account() {
  const me = useAccount();
  if (!me) return null;
  return (
    <>
      <span className="account" title={`lmms-eval on Kubernetes ${me.version}`}>
        <bdi>{me.name}</bdi>
      </span>
      {me.authentication === "session" && (
        <form method="post" action={apiUrl("/ui/session/end")}>
          <button type="submit" className="quiet">
            Sign out
          </button>
        </form>
      )}
    </>
  );
}

export function NotFound() {
  return (
    <div className="page">
      <title>Not found · lmms-eval</title>
      <h1>There is no such page</h1>
      <p>
        <Link to="/runs">All runs</Link>
      </p>
    </div>
  );
}

/** A page that could not be shown, as after an upgrade that took its files away. */
export function PageError({ error }: { error: unknown }) {
  return (
    <div className="page">
      <h1>This page cannot be shown</h1>
      <ErrorNotice error={error} onRetry={() => location.reload()} />
    </div>
  );
}
