// tagger's API, which volmgr passes through.
import { call, query } from './api.js';

export const taggerUrl = (route, parameters = {}) => `api/v1${query(`/tagger/${route}`, parameters)}`;
export const taggerGet = (route, parameters = {}, options) => call('GET', query(`/tagger/${route}`, parameters), undefined, options);
export const taggerPost = (route, parameters = {}, body) => call('POST', query(`/tagger/${route}`, parameters), body);
export const taggerDelete = (route, parameters = {}) => call('DELETE', query(`/tagger/${route}`, parameters));

export const parentOf = (path) => path.split('/').slice(0, -1).join('/');
export const nameOf = (path) => path.split('/').at(-1);
export const joinPath = (folder, name) => (folder ? `${folder}/${name}` : name);

const PICTURED = ['image', 'video'];

export const pictured = (f) => PICTURED.includes(f.kind) || (f.kind === 'document' && /\.pdf$/i.test(f.name));

export function fileIcon(f) {
	return ['folder', 'image', 'video', 'audio', 'source', 'archive', 'document', 'text', 'page', 'mail'].includes(f.kind) ? f.kind : 'file';
}

export function addTags(files, add, remove = []) {
	return Promise.all(files.map((f) => taggerPost('file/tags', { id: f.id }, { add, remove })));
}
