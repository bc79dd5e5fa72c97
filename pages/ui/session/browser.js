// Behaviour of the whole page: browser history, the view of the slices in the address, the menu on a phone, and the link.

const PHONE = '(max-width: 640px)';
const VIEW = 'view'; // parameter of the address that the slice viewer writes; the server passes it through

/** History with one entry per user action; Streamlit alone adds one for every change of the address. */
class PageAddress {
  constructor() {
    this.push = history.pushState.bind(history);
    this.replace = history.replaceState.bind(history);
    this.view = this.parameter(VIEW);
    this.acted = false; // whether the user has acted since the last new entry
    for (const type of ['pointerdown', 'keydown']) addEventListener(type, () => { this.acted = true; }, true);
    addEventListener('popstate', () => {
      this.acted = false; // pages that adapt their address after Back must not remove the entries for Forward
      this.view = this.parameter(VIEW);
      dispatchEvent(new Event('tomopatch-view'));
    }, true);
    history.pushState = (state, title, url) => this.write(state, title, url);
    history.replaceState = (state, title, url) => this.replace(state, title, this.withView(url));
  }

  parameter(name, url = location.href) { return new URL(url, location.href).searchParams.get(name) || ''; }

  /** Return the URL with the current view, which is newer than that of the server. */
  withView(url) {
    if (url === undefined || url === null) return url;
    const full = new URL(url, location.href);
    if (this.view) full.searchParams.set(VIEW, this.view);
    else full.searchParams.delete(VIEW);
    return full.href;
  }

  write(state, title, url) {
    const full = this.withView(url), bare = (u) => { const copy = new URL(u, location.href); copy.searchParams.delete(VIEW); return copy.href; };
    const changed = bare(full || location.href) !== bare(location.href);
    if (changed && this.acted) { this.acted = false; this.push(state, title, full); } else this.replace(state, title, full);
  }

  /** Show this view in the address, without a new entry. */
  setView(view) {
    this.view = view;
    const url = this.withView(location.href);
    if (url !== location.href) this.replace(history.state, '', url);
  }
}

/** Close the menu of a phone, where it covers the page. */
function closeMenu() {
  const button = document.querySelector('[data-testid="stSidebarCollapseButton"] button');
  if (button && matchMedia(PHONE).matches) button.click();
}

function install() {
  if (window.tomopatchAddress) return;
  window.tomopatchAddress = new PageAddress();
  closeMenu(); // the browser remembers that it was open
  addEventListener('click', (e) => {
    if (e.target.closest?.('[data-testid="stSidebarNavLink"], [data-testid="stSidebar"] [data-testid="stPageLink"]')) setTimeout(closeMenu, 50);
  }, true);
}

/** Copy the address; browsers without access to the clipboard copy a selected text. */
async function copyLink(button) {
  try {
    await navigator.clipboard.writeText(location.href);
  } catch {
    const field = document.createElement('textarea');
    field.value = location.href;
    document.body.append(field);
    field.select();
    document.execCommand('copy');
    field.remove();
  }
  button.textContent = 'Link copied';
  setTimeout(() => { button.textContent = button.dataset.label; }, 2000);
}

export default function ({ parentElement }) {
  install();
  const button = parentElement.querySelector('.copy');
  if (button) button.onclick = () => copyLink(button);
}
