// The AWS SDK for JavaScript v3, unmodified, through the life of a collection with users.
//
//   npm install @aws-sdk/client-rekognition
//   AWS_ACCESS_KEY_ID=... AWS_SECRET_ACCESS_KEY=... node javascript_v3.mjs http://127.0.0.1:8000 group.jpg selfie.png
//
// Against a service with AUTH=required it prints: faces 6, found true, listed 7, user u, created true 1,
// typed ResourceNotFoundException true, refused InvalidSignatureException.
import { readFileSync } from "node:fs";
import * as R from "@aws-sdk/client-rekognition";
const [endpoint, group, portrait] = process.argv.slice(2);
const client = new R.RekognitionClient({ endpoint, region: "eu-west-1", maxAttempts: 1 });
const run = (command) => client.send(command);
const CollectionId = "js";
await run(new R.CreateCollectionCommand({ CollectionId, Tags: { team: "a b" } }));
const indexed = await run(new R.IndexFacesCommand({ CollectionId, Image: { Bytes: readFileSync(group) }, ExternalImageId: "g" }));
console.log("faces", indexed.FaceRecords.length);
const own = await run(new R.IndexFacesCommand({ CollectionId, Image: { Bytes: readFileSync(portrait) } }));
const FaceId = own.FaceRecords[0].Face.FaceId;
const found = await run(new R.SearchFacesByImageCommand({ CollectionId, Image: { Bytes: readFileSync(portrait) } }));
console.log("found", found.FaceMatches[0].Face.FaceId === FaceId);
let listed = 0;
for await (const page of R.paginateListFaces({ client, pageSize: 3 }, { CollectionId })) listed += page.Faces.length;
console.log("listed", listed);
await run(new R.CreateUserCommand({ CollectionId, UserId: "u", ClientRequestToken: "t-1" }));
await run(new R.AssociateFacesCommand({ CollectionId, UserId: "u", FaceIds: [FaceId] }));
const users = await run(new R.SearchUsersByImageCommand({ CollectionId, Image: { Bytes: readFileSync(portrait) } }));
console.log("user", users.UserMatches[0].User.UserId);
const d = await run(new R.DescribeCollectionCommand({ CollectionId }));
console.log("created", d.CreationTimestamp instanceof Date, d.UserCount);
try { await run(new R.DescribeCollectionCommand({ CollectionId: "nowhere" })); } catch (e) { console.log("typed", e.name, e instanceof R.ResourceNotFoundException); }
await run(new R.DeleteUserCommand({ CollectionId, UserId: "u" }));
await run(new R.DeleteCollectionCommand({ CollectionId }));
const wrong = new R.RekognitionClient({ endpoint, region: "eu-west-1", maxAttempts: 1, credentials: { accessKeyId: process.env.AWS_ACCESS_KEY_ID, secretAccessKey: "wrong" } });
try { await wrong.send(new R.ListCollectionsCommand({})); } catch (e) { console.log("refused", e.name); }
