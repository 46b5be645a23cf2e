export function SubmitPage() { return <p>later</p>; }
