"use strict";
(() => {
	// The page is whole without this script, which keeps its parts up to date. The
	// token stays in this tab and goes to this node in a header, never in an address.
	const slot = "phase-token", most = 4 << 20, silence = 20000;
	const id = (name) => document.getElementById(name);
	const form = id("key"), known = id("known"), live = id("live");
	let token = "", stop = null, wait = 2000;
	try { token = sessionStorage.getItem(slot) || ""; } catch { /* kept in this page alone */ }

	const say = (text) => { live.textContent = text; live.hidden = !text; };
	const keep = (value) => {
		token = value;
		try { value ? sessionStorage.setItem(slot, value) : sessionStorage.removeItem(slot); } catch { /* as above */ }
		if (form) { form.hidden = !!value; known.hidden = !value; }
	};

	// show puts one event in its place. What it holds is of the same program as the page.
	const show = (text) => {
		let name = "";
		const data = [];
		for (const line of text.split("\n")) {
			if (line.startsWith("event: ")) name = line.slice(7);
			else if (line.startsWith("data: ")) data.push(line.slice(6));
			else if (line.startsWith("retry: ")) wait = Number(line.slice(7)) || wait;
		}
		if (name === "page") {
			if (data[0] !== document.body.dataset.page) location.reload();
			return;
		}
		const part = name && id(name);
		if (!part) return;
		const open = !!part.querySelector("details[open]");
		part.innerHTML = data.join("\n");
		part.hidden = !data.join("").trim();
		if (open) part.querySelector("details")?.setAttribute("open", "");
		part.classList.remove("new");
		void part.offsetWidth; // the animation begins again
		part.classList.add("new");
	};

	// follow reads events until there are none any more.
	const follow = async (signal, heard) => {
		const answer = await fetch(token ? "/v1/events" : "/events", {
			headers: token ? { Authorization: "Bearer " + token } : {},
			cache: "no-store", credentials: "omit", redirect: "error", signal,
		});
		if (token && answer.status === 401) {
			keep("");
			id("wrong").hidden = false;
			return follow(signal, heard);
		}
		if (!answer.ok) throw new Error((await answer.json().catch(() => ({}))).detail || "the node answers " + answer.status);
		say("");
		const from = answer.body.pipeThrough(new TextDecoderStream()).getReader();
		for (let text = ""; ;) {
			const { done, value } = await from.read();
			if (done) return;
			heard();
			text += value;
			for (let at; (at = text.indexOf("\n\n")) >= 0; text = text.slice(at + 2)) show(text.slice(0, at));
			if (text.length > most) throw new Error("the node says too much at once");
		}
	};

	// run follows the node again and again while the page is to be seen: a browser
	// has few connections to one node, and a page that nobody sees needs none.
	const run = async () => {
		while (!document.hidden) {
			const now = stop = new AbortController();
			let timer = 0;
			const heard = () => { clearTimeout(timer); timer = setTimeout(() => now.abort(), silence); };
			let why = "the node is gone, or starts again";
			heard();
			try { await follow(now.signal, heard); } catch (e) { if (e.message && !(e instanceof TypeError) && e.name !== "AbortError") why = e.message; }
			clearTimeout(timer);
			if (stop !== now) return; // another one runs
			if (document.hidden) break;
			say("Not up to date: " + why + ". Trying again.");
			await new Promise((done) => setTimeout(done, wait));
			if (stop !== now) return;
		}
		stop = null;
	};
	const again = () => {
		const old = stop;
		stop = null;
		old?.abort();
		if (!document.hidden) run();
	};

	if (form) {
		keep(token);
		form.addEventListener("submit", (e) => {
			e.preventDefault();
			id("wrong").hidden = true;
			keep(id("token").value.trim());
			id("token").value = "";
			again();
		});
		id("forget").addEventListener("click", () => { keep(""); location.reload(); });
	}
	document.addEventListener("visibilitychange", again);
	run();
})();
